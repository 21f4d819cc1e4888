"""The demo is the newcomer's proof, so it is proved itself: played whole, and its numbers doubted."""

import io
import json
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator
from rich.console import Console

from forwarder.demo.console import ConsoleOutput
from forwarder.demo.daemon_process import Counters
from forwarder.demo.environment import start_environment
from forwarder.demo.report import Report
from forwarder.demo.scenario import run_scenario
from forwarder.event.schema import schema

AGREES = Report(
    listed=3,
    failed=frozenset({"a", "b"}),
    arrived={"a": 1, "b": 1},
    in_flight_at_kill=frozenset({"b"}),
    requests_in_flight=1,
    counters=Counters(recorded=2, pending=0, sent=2, dead=0),
    leaked=0,
)


def test_the_demo_ends_well_and_every_event_of_it_is_as_the_schema_says() -> None:
    shown = io.StringIO()
    with start_environment(ConsoleOutput(Console(file=shown, width=120), workflow_width=20)) as environment:
        assert run_scenario(environment, keep=False) == 0, shown.getvalue()
        details = [json.loads(body)["detail"] for body in environment.consumer.bodies]
    validator = Draft202012Validator(schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert len(details) >= len(environment.workload.failed) > 0
    assert [error.message for detail in details for error in validator.iter_errors(detail)] == []


def test_numbers_that_agree_are_left_alone() -> None:
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
    ids=["lost", "invented", "twice without a kill", "still owed", "leaked"],
)
def test_numbers_that_do_not_agree_are_told(wrong: Report) -> None:
    assert wrong.mismatches()
