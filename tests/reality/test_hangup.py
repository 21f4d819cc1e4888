"""A terminal that closes: an SSH connection that breaks under a forwarder started by hand.

The report: a server that was started in a shell stopped, or failed to write its log, when the shell was closed.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess

from tests.e2e.harness import fail, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import PROGRAM, Installation
from tests.harness.process import MAX_WAIT_SECONDS, eventually


def test_closed_terminal_stops_nothing(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    terminal, inside = pty.openpty()
    process = subprocess.Popen(  # noqa: S603 - the program under test
        [*PROGRAM, "-c", str(installation.settings_file), "run"],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        env=installation.environment(),
        cwd=installation.directory,
    )
    os.close(inside)
    try:
        fail(alloy, "before")
        assert eventually(lambda: sent(bus) == ["before"])
        os.close(terminal)
        process.send_signal(signal.SIGHUP)  # by the system, if this were its controlling terminal
        fail(alloy, "later")
        assert eventually(lambda: sent(bus) == ["before", "later"])
        process.terminate()
        assert process.wait(MAX_WAIT_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
