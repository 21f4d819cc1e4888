"""Unusual but valid environments: locales, options of the interpreter and missing folders."""

from __future__ import annotations

from typing import Final

import pytest

from tests.e2e.harness import fail, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

ENVIRONMENTS: Final = {
    "warnings are errors": {"PYTHONWARNINGS": "error"},
    "no assertions, no docstrings": {"PYTHONOPTIMIZE": "2"},
    "ASCII locale": {"PYTHONUTF8": "0", "LC_ALL": "POSIX", "LANG": "POSIX", "PYTHONCOERCECLOCALE": "0"},
    "locale that was not generated": {"LC_ALL": "xx_YY.UTF-8", "LANG": "xx_YY.UTF-8"},
    "development mode": {"PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1"},
    "no temporary folder": {"TMPDIR": "/nonexistent", "SQLITE_TMPDIR": "/nonexistent"},
    "no time zone data": {"TZ": "Europe/Nowhere", "PYTHONTZPATH": ""},
    "no home": {"HOME": "/nonexistent"},
    "no width": {"COLUMNS": "0", "LINES": "x", "TERM": "dumb"},
}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_unusual_environment_changes_nothing(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, environment: str
) -> None:
    installation.write("# Überwachung, 监控\n" + installation.settings_file.read_text())
    installation.env |= ENVIRONMENTS[environment]
    fail(alloy, "x")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["x"]
    assert installation.run_command("check").code == 0


@pytest.mark.parametrize("command", ["once", "check", "run"])
def test_key_log_that_cannot_be_written_is_named(installation: Installation, command: str) -> None:
    """A person has captured TLS connections, and the folder is not in the container of the service."""
    installation.env |= {"SSLKEYLOGFILE": "/nonexistent/keys.log"}
    done = installation.run_command(command)
    assert done.code == 78
    assert "SSLKEYLOGFILE names /nonexistent/keys.log, which cannot be written" in done.err
    assert "unset SSLKEYLOGFILE" in done.err
