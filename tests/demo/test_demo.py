"""The demo runs to its end, and its report finds each mismatch of the numbers."""

import io
import json
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from rich.console import Console

from forwarder.demo.console import ConsoleOutput
from forwarder.demo.daemon_process import Counters, shown_program
from forwarder.demo.environment import start_environment
from forwarder.demo.report import Report
from forwarder.demo.scenario import run_scenario
from tests.event.closed_schema import closed_schema

AGREES = Report(
    listed=3,
    failed=frozenset({"a", "b"}),
    arrived={"a": 1, "b": 1},
    in_flight_at_kill=frozenset({"b"}),
    requests_in_flight=1,
    counters=Counters(recorded=2, pending=0, sent=2, dead=0),
    leaked=0,
)


@pytest.mark.long  # `make demo` runs the same
def test_demo_succeeds_and_its_events_match_the_schema() -> None:
    output = io.StringIO()
    with start_environment(ConsoleOutput(Console(file=output, width=120), workflow_width=20)) as environment:
        assert run_scenario(environment, keep=False) == 0, output.getvalue()
        details = [json.loads(body)["detail"] for body in environment.consumer.bodies]
    validator = Draft202012Validator(closed_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert len(details) >= len(environment.workload.failed) > 0
    assert [error.message for detail in details for error in validator.iter_errors(detail)] == []


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the script of an installation from which the demo was started. PATH does not lead to it."""
    script = tmp_path / "venv of mine" / "bin" / "forwarder"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(script), "demo", "--keep"])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return script


def test_shown_command_is_the_path_of_a_script_not_on_path(script: Path) -> None:
    assert shlex.split(shown_program()) == [str(script)]


def test_shown_command_is_the_name_of_a_script_on_path(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    assert shown_program() == "forwarder"


def test_shown_command_is_not_another_installation(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = script.with_name("other") / "forwarder"
    other.parent.mkdir()
    shutil.copy(script, other)
    monkeypatch.setenv("PATH", f"{other.parent}:/usr/bin:/bin")
    assert shlex.split(shown_program()) == [str(script)]


def test_shown_command_of_a_module_starts_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/checkout/forwarder/__main__.py", "demo", "--keep"])
    words = [*shlex.split(shown_program()), "--version"]
    done = subprocess.run(words, capture_output=True, check=True, text=True)  # noqa: S603  # the program under test
    assert done.stdout.startswith("forwarder ")


def test_report_without_mismatch_is_empty() -> None:
    assert AGREES.mismatches() == []


@pytest.mark.parametrize(
    "wrong",
    [
        replace(AGREES, arrived={"a": 1}),
        replace(AGREES, arrived={"a": 1, "b": 1, "c": 1}),
        replace(AGREES, arrived={"a": 2, "b": 1}),
        replace(AGREES, counters=Counters(recorded=2, pending=1, sent=1, dead=0)),
        replace(AGREES, leaked=1),
    ],
    ids=["lost", "invented", "twice without a kill", "still pending", "leaked"],
)
def test_report_with_mismatch_names_it(wrong: Report) -> None:
    assert wrong.mismatches()


def test_addresses_begin_in_one_column_after_each_label() -> None:
    output = io.StringIO()
    ConsoleOutput(Console(file=output, width=120), workflow_width=20).addresses(
        [("make one fail", "x"), ("queue", "y")]
    )
    assert output.getvalue().splitlines() == ["   make one fail   x", "   queue           y"]
