"""A machine's clock that is temporarily years ahead: a dead battery, a restored snapshot, a wrong NTP server.

The report: a step of the clock past the retention removed a whole journal in one pass.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from tests.e2e.harness import fail, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import MAX_COMMAND_SECONDS, Installation

AHEAD: Final = """
import asyncio
import sys
from datetime import timedelta
from pathlib import Path
from forwarder.clock import SystemClock
from forwarder.settings import resolve_config
from forwarder.once import once
class Ahead(SystemClock):
    def now(self):
        return super().now() + timedelta(days=800)
asyncio.run(once(resolve_config(Path(sys.argv[1])), Ahead(), timedelta(seconds=5)))
"""


def test_clock_years_ahead_for_a_pass_loses_no_failure(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """The known ids of the future must not become a floor that excludes a failure that is listed late."""
    fail(alloy, "known", ago=60)
    assert installation.run_command("once").code == 0
    subprocess.run(  # noqa: S603 - a program of ours
        [sys.executable, "-c", AHEAD, str(installation.settings_file)],
        env=installation.environment(),
        cwd=installation.directory,
        capture_output=True,
        check=True,
        timeout=MAX_COMMAND_SECONDS,
    )
    fail(alloy, "late", ago=100)
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["known", "late"]
    assert installation.counters()["forgotten"] == 0
