"""The demo is the newcomer's proof, so it is proved itself: played whole, and its numbers doubted."""

import io
import json
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator
from rich.console import Console

from forwarder.demo.process import Books
from forwarder.demo.screen import Screen
from forwarder.demo.stage import set_stage
from forwarder.demo.story import perform
from forwarder.demo.tally import Tally
from forwarder.event.schema import schema

AGREES = Tally(
    listed=3,
    failed=frozenset({"a", "b"}),
    arrived={"a": 1, "b": 1},
    at_the_kill=frozenset({"b"}),
    requests_in_flight=1,
    books=Books(recorded=2, owed=0, sent=2, dead=0),
    leaked=0,
)


def test_the_demo_ends_well_and_every_event_of_it_is_as_the_schema_says() -> None:
    shown = io.StringIO()
    with set_stage(Screen(Console(file=shown, width=120), workflow_width=20)) as stage:
        assert perform(stage, keep=False) == 0, shown.getvalue()
        details = [json.loads(body)["detail"] for body in stage.watch.bodies]
    validator = Draft202012Validator(schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert len(details) >= len(stage.world.failed) > 0
    assert [error.message for detail in details for error in validator.iter_errors(detail)] == []


def test_numbers_that_agree_are_left_alone() -> None:
    assert AGREES.disagreements() == []


@pytest.mark.parametrize(
    "wrong",
    [
        replace(AGREES, arrived={"a": 1}),
        replace(AGREES, arrived={"a": 1, "b": 1, "c": 1}),
        replace(AGREES, arrived={"a": 2, "b": 1}),
        replace(AGREES, books=Books(recorded=2, owed=1, sent=1, dead=0)),
        replace(AGREES, leaked=1),
    ],
    ids=["lost", "invented", "twice without a kill", "still owed", "leaked"],
)
def test_numbers_that_do_not_agree_are_told(wrong: Tally) -> None:
    assert wrong.disagreements()
