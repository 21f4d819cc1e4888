"""The log works under faults: with no reader, with a slow reader, and at the end of the process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ENDING = """
from forwarder import log
from forwarder.settings.local_sections import RunSettings
log.configure(RunSettings())
log.configure(RunSettings())
"""


def test_ending_process_logs_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - a program of ours
    assert (done.stdout, done.stderr) == ("", "")


AUDIT = """
import structlog
from forwarder import log
from forwarder.settings.local_sections import RunSettings
log.configure(RunSettings(log_level="error", log_format="json"))
log.audit().info("changed in web UI", fields=["enabled"])
structlog.get_logger("web").info("a detail")
"""


def test_audit_log_ignores_the_level() -> None:
    done = subprocess.run([sys.executable, "-c", AUDIT], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - a program of ours
    assert "changed in web UI" in done.stderr
    assert "a detail" not in done.stderr


HINTS = """
import structlog
from forwarder import log
from forwarder.settings.local_sections import RunSettings
log.configure(RunSettings(log_format="json"))
structlog.get_logger("web").error("an event", reason="", hint="")
structlog.get_logger("web").error("an event", reason="", hint="a hint")
"""


def test_empty_hint_is_not_logged() -> None:
    done = subprocess.run([sys.executable, "-c", HINTS], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - a program of ours
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line.get("reason"), line.get("hint")) for line in lines] == [("", None), ("", "a hint")]


LEVELS = """
import logging
import structlog
from forwarder import log
from forwarder.cli.output import print_error
from forwarder.errors import ForwarderError
from forwarder.settings.local_sections import RunSettings
log.configure(RunSettings(log_level="debug", log_format="FORMAT"))
for level in ("debug", "info", "warning", "error", "critical"):
    getattr(structlog.get_logger("web"), level)("an event")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger("web").exception("an event")
logging.getLogger("aiohttp").error("an event")
print_error(ForwarderError("an event", hint="a hint"))
"""


def logged_lines(file: Path, log_format: str, *, is_journal: bool) -> list[str]:
    """Return the lines of a process. `is_journal` is whether its standard error is the stream of JOURNAL_STREAM."""
    with file.open("wb") as stream:
        status = os.fstat(stream.fileno())
        inode = status.st_ino if is_journal else status.st_ino + 1
        environment = os.environ | {"JOURNAL_STREAM": f"{status.st_dev}:{inode}"}
        program = LEVELS.replace("FORMAT", log_format)
        subprocess.run([sys.executable, "-c", program], stderr=stream, env=environment, check=True, timeout=60)  # noqa: S603 - a program of ours
    return file.read_text().splitlines()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_lines_in_the_journal_have_priorities(tmp_path: Path, log_format: str) -> None:
    lines = logged_lines(tmp_path / "log", log_format, is_journal=True)
    priorities = [line[:3] for line in lines]
    *levels, foreign, error, hint = priorities
    assert levels[:5] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
    assert {*levels[5:], foreign, error, hint} == {"<3>"}, "each line of a traceback has the priority too"


def test_lines_of_other_readers_have_no_priority(tmp_path: Path) -> None:
    *lines, error, hint = logged_lines(tmp_path / "log", "json", is_journal=False)
    assert [json.loads(line)["event"] for line in lines] == ["an event"] * 7
    assert (error, hint) == ("error: an event", "hint:  a hint")
