"""A stopped reader of the log: a log driver that hangs, a pager, a terminal after Ctrl-S.

The report: containers hung, and did not stop on SIGTERM, while their log driver waited for a server that was down.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Final

from tests.e2e.harness import fail, numbered, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import PROGRAM, Installation
from tests.harness.process import MAX_WAIT_SECONDS, eventually

SMALL_BYTES: Final = 4096
EXECUTIONS: Final = 60  # their lines do not fit into a small pipe

FLOOD: Final = """
import sys
import structlog
from forwarder import log
from forwarder.settings.local_sections import RunSettings
log.configure(RunSettings(log_format="json"))
logger = structlog.get_logger("test")
for number in range(3000):
    logger.info("line", number=number, text="x" * 1000)
print("logged", flush=True)
sys.stdin.readline()
"""

HANG: Final = """
import os
from forwarder import log, log_stream
from forwarder.settings.local_sections import RunSettings
from forwarder.watchdog import exit_process
log.configure(RunSettings(log_format="json"))
log_stream.send("x" * 100_000)
exit_process("nothing moves")
"""


def has_sent(bus: StrictEventBridge, count: int) -> bool:
    return len(sent(bus)) == count


@contextlib.contextmanager
def unread_pipe() -> Iterator[tuple[int, int]]:
    """Yield both ends of a small pipe without a reader."""
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, SMALL_BYTES)
    try:
        yield reads, writes
    finally:
        for descriptor in (reads, writes):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def test_stopped_log_reader_stops_nothing(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    with unread_pipe() as (_, writes):
        process = subprocess.Popen(  # noqa: S603 - the program under test
            [*PROGRAM, "-c", str(installation.settings_file), "run"],
            stderr=writes,
            env=installation.environment(),
            cwd=installation.directory,
        )
        try:
            for number, id_ in enumerate(numbered(EXECUTIONS), 1):
                fail(alloy, id_)
                assert eventually(partial(has_sent, bus, number)), f"{number} of {EXECUTIONS}"
            process.terminate()
            assert process.wait(MAX_WAIT_SECONDS) == 0
        finally:
            process.kill()
            process.wait()


def test_continued_log_reader_gets_whole_lines() -> None:
    with unread_pipe() as (reads, writes):
        process = subprocess.Popen(  # noqa: S603 - a program of ours
            [sys.executable, "-c", FLOOD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=writes, text=True
        )
        os.close(writes)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "logged\n"
        lines = []
        with open(reads, encoding="utf-8", closefd=False) as log:
            while "dropped" not in (line := json.loads(log.readline()))["event"]:
                lines.append(line["number"])
        process.communicate("\n", timeout=MAX_WAIT_SECONDS)
    assert lines == list(range(len(lines)))
    assert len(lines) + line["lines"] == 3000
    assert process.returncode == 0


def test_stopped_log_reader_does_not_block_the_watchdog() -> None:
    with unread_pipe() as (_, writes):
        done = subprocess.run([sys.executable, "-c", HANG], stderr=writes, check=False, timeout=MAX_WAIT_SECONDS)  # noqa: S603 - a program of ours
    assert done.returncode == 1
