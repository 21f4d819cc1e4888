"""The log works under faults: with no reader, with a slow reader, and at the end of the process."""

import subprocess
import sys

ENDING = """
from forwarder import log
from forwarder.settings.sections import RunSettings
log.configure(RunSettings())
log.configure(RunSettings())
"""


def test_ending_process_logs_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - a program of ours
    assert (done.stdout, done.stderr) == ("", "")


AUDIT = """
import structlog
from forwarder import log
from forwarder.settings.sections import RunSettings
log.configure(RunSettings(log_level="error", log_format="json"))
log.audit().info("changed in web UI", fields=["enabled"])
structlog.get_logger("web").info("a detail")
"""


def test_audit_log_ignores_the_level() -> None:
    done = subprocess.run([sys.executable, "-c", AUDIT], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - a program of ours
    assert "changed in web UI" in done.stderr
    assert "a detail" not in done.stderr
