"""Which executions failed, in the order of the tests in the design."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.alloy.dialect import decode_page
from forwarder.demo.executions import FAILURES, VARIANTS, execution, looks_failed
from forwarder.intake.selection import Selection, has_block_error, has_error
from forwarder.model import Execution, Verdict
from tests.clocks import NOON
from tests.samples import encoded, examples, some_settings, trees

RUNNING, FAILED, SUCCEEDED, UNKNOWN = Verdict.RUNNING, Verdict.FAILED, Verdict.SUCCEEDED, Verdict.UNKNOWN
BLOCK_ERROR = [{"blockId": "b-1"}, {"blockId": "b-2", "error": {"message": "x"}}]


def selection(**source: Any) -> Selection:
    return Selection.of(some_settings(source=source).source)


def a_run(**fields: Any) -> Execution:
    return Execution(id="e-1", **{"stopped_at": NOON, **encoded(fields)})


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("outcome", ["success", "running", *FAILURES])
def test_each_documented_variant_is_told_as_what_it_is(variant: Any, outcome: Any) -> None:
    listed = execution(outcome, id="e-1", started=NOON, variant=variant)
    (run,) = decode_page(json.dumps({"data": [listed]}).encode()).executions
    told = selection().judge(run)
    if outcome == "unfinished":  # the only sign is inferred: it is forwarded, as unknown
        assert told is UNKNOWN
    else:
        assert told is {"success": SUCCEEDED, "running": RUNNING}.get(outcome, FAILED)
    assert (told in (FAILED, UNKNOWN)) == looks_failed(listed)


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        # Running, whatever its blocks say: an error may still be retried or handled.
        ({"stopped_at": None}, RUNNING),
        ({"stopped_at": None, "results": BLOCK_ERROR}, RUNNING),
        ({"stopped_at": None, "finished": True}, RUNNING),
        ({"stopped_at": None, "status": "success"}, RUNNING),
        ({"status": "running"}, RUNNING),
        ({"status": "Waiting", "results": BLOCK_ERROR}, RUNNING),
        # Failed by what it says of itself, stopped or not.
        ({"stopped_at": None, "status": "failed"}, FAILED),
        ({"stopped_at": None, "error": "x"}, FAILED),
        ({"stopped_at": None, "message": "executionError"}, FAILED),
        ({"status": " Timed_Out "}, FAILED),
        ({"status": "success", "error": {"message": "x"}}, FAILED),
        ({"status": "success", "message": "executionError"}, FAILED),
        ({"finished": True, "error": "x"}, FAILED),
        # Succeeded: an error in a block was handled by the workflow.
        ({"status": "success", "results": BLOCK_ERROR}, SUCCEEDED),
        ({"status": "SUCCEEDED"}, SUCCEEDED),
        ({"stopped_at": None, "completed_at": NOON, "status": "success"}, SUCCEEDED),
        # A block's error decides only then.
        ({"results": BLOCK_ERROR}, FAILED),
        ({"results": BLOCK_ERROR, "finished": True}, FAILED),
        ({"results": BLOCK_ERROR, "status": "odd"}, FAILED),
        ({"results": {"b": {"error": "x"}}}, FAILED),
        ({"results": [None, 7, {"error": "x"}]}, FAILED),
        ({"finished": True}, SUCCEEDED),
        # A status in no known set is never silently a success.
        ({"finished": True, "status": "odd"}, UNKNOWN),
        ({"finished": False}, UNKNOWN),
        ({}, UNKNOWN),
        ({"message": "done"}, UNKNOWN),
    ],
)
def test_the_first_test_that_says_something_decides(fields: dict[str, Any], verdict: Verdict) -> None:
    assert selection().judge(a_run(**fields)) is verdict


@pytest.mark.parametrize("nothing", [None, "", {}, [], False])
def test_an_error_that_says_nothing_is_none(nothing: object) -> None:
    assert not has_error(a_run(error=nothing))
    assert not has_block_error(a_run(results=[{"error": nothing}]))
    assert selection().judge(a_run(error=nothing, results=[{"error": nothing}], finished=True)) is SUCCEEDED


@pytest.mark.parametrize("something", ["x", 0, 1, True, {"a": None}, [None], " "])
def test_an_error_that_says_anything_is_one(something: object) -> None:
    assert has_error(a_run(error=something))
    assert has_block_error(a_run(results=[{"error": something}]))


@pytest.mark.parametrize("spaced", [b" { } ", b"{ }", b"[ ]", b"[\n]", b' "" ', b" null "])
def test_white_space_makes_no_error(spaced: bytes) -> None:
    assert not has_error(Execution(id="e", error=msgspec.Raw(spaced)))
    assert not has_block_error(Execution(id="e", results=msgspec.Raw(b'[{"error": ' + spaced + b"}]")))


@given(trees | st.lists(st.dictionaries(st.sampled_from(["error", "a"]), trees, max_size=2), max_size=4))
@examples(200)
def test_any_results_are_judged_as_their_blocks_say(results: Any) -> None:
    blocks = list(results.values()) if isinstance(results, dict) else results if isinstance(results, list) else []
    expected = any(isinstance(block, dict) and block.get("error") not in (None, "", {}, [], False) for block in blocks)
    zero = any(isinstance(block, dict) and block.get("error") == 0 for block in blocks)  # 0 == False in Python
    assert has_block_error(a_run(results=results)) == expected or zero


@given(st.binary(max_size=100))
@examples(200)
def test_results_that_are_no_json_say_nothing(results: bytes) -> None:
    assert selection().judge(Execution(id="e", stopped_at=NOON, results=msgspec.Raw(results))) in (UNKNOWN, FAILED)


instants = st.sampled_from(
    ["", "2022-10-04T01:12:59.508Z", "2022-10-04T01:12:59", "1969-12-31T23:59:59Z"]
) | st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "2022-10-04T03:12:59+02:00", 7, None, "soon"])
records = st.fixed_dictionaries(
    {"executionId": st.sampled_from(["e-1", "", "é" * 170, "e" * 171, "e" * 1025, 7])},
    optional={
        "stoppedAt": instants,
        "completedAt": instants,
        "status": st.sampled_from(["success", "Succeeded ", "succeeded", "failed", "running", "odd", "", None]),
        "finished": st.none() | st.booleans(),
        "message": st.sampled_from([None, "", "done", "executionError"]),
        "error": st.sampled_from([None, "", {}, "x", {"message": "x"}, 0]),
        "results": st.sampled_from(
            [[], None, [{"data": 1}], BLOCK_ERROR, {"b": {"error": "x"}}, [{"error": None}], "error"]
        ),
    },
)


@given(st.lists(records, max_size=6), st.booleans())
@examples(500)
def test_only_what_succeeded_is_passed_over_at_a_glance(page: list[Any], overlapping: bool) -> None:
    chosen = selection(failure_statuses=["failed", "succeeded"]) if overlapping else selection()
    executions = decode_page(json.dumps({"data": page}).encode()).executions
    in_question = chosen.in_question(executions)
    passed_over = [execution for execution in executions if execution not in in_question]
    assert {chosen.judge(execution) for execution in passed_over} <= {SUCCEEDED}
    # Else nothing is gained: these two are what most logs are made of.
    plain = [a_run(status="success", results=BLOCK_ERROR), a_run(finished=True, results=[{"data": 1}], error=None)]
    assert chosen.in_question(plain) == []


def test_an_error_whose_name_is_spelled_with_escapes_is_not_passed_over() -> None:
    results = msgspec.Raw(rb'[{"\u0065rror": "x"}]')
    execution = Execution(id="e", stopped_at=NOON, finished=True, results=results)
    assert selection().in_question([execution]) == [execution]
    assert selection().judge(execution) is FAILED


def test_the_sets_of_statuses_are_settings() -> None:
    chosen = selection(failure_statuses=["Kaputt"], success_statuses=["Gut"], running_statuses=["Noch"])
    told = [chosen.judge(a_run(status=status)) for status in ("KAPUTT", "gut", "noch", "failed", "success")]
    assert told == [FAILED, SUCCEEDED, RUNNING, UNKNOWN, UNKNOWN]
    assert selection(unknown_status="ignore").forward_unknown is False


def test_each_unknown_status_is_new_once_and_after_a_hundred_none_is() -> None:
    chosen = selection()
    assert [chosen.is_new("odd"), chosen.is_new("odd")] == [True, False]
    assert sum(chosen.is_new(f"odd-{number}") for number in range(1000)) == 99
