"""The classification of executions, in the order of the documented rules."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from forwarder.alloy.decode import decode_page
from forwarder.demo.sample_data import FAILURES, VARIANTS, execution, is_failed_record
from forwarder.intake.classify import Classifier, has_block_error, has_error
from forwarder.model import Classification, Execution
from tests.factories import encoded, examples, some_settings, trees
from tests.virtual_clock import NOON

RUNNING, FAILED, SUCCEEDED, UNKNOWN = (
    Classification.RUNNING,
    Classification.FAILED,
    Classification.SUCCEEDED,
    Classification.UNKNOWN,
)
BLOCK_KEYS = {"blockId", "connectorId", "executionStatus", "executionTime", "blockType"}

BLOCK_ERROR = [{"blockId": "b-1"}, {"blockId": "b-2", "error": {"message": "x"}}]


def classifier(**source: Any) -> Classifier:
    return Classifier.from_settings(some_settings(source=source).source)


def a_run(**fields: Any) -> Execution:
    return Execution(id="e-1", **{"stopped_at": NOON, **encoded(fields)})


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("outcome", ["success", "running", *FAILURES])
def test_documented_variant_is_classified(variant: Any, outcome: Any) -> None:
    listed = execution(outcome, id="e-1", started=NOON, variant=variant)
    (run,) = decode_page(json.dumps({"data": [listed]}).encode()).executions
    result = classifier().classify(run)
    if outcome == "unfinished":  # no field states the failure: it is forwarded as unknown
        assert result is UNKNOWN
    else:
        assert result is {"success": SUCCEEDED, "running": RUNNING}.get(outcome, FAILED)
    assert (result in (FAILED, UNKNOWN)) == is_failed_record(listed)


@pytest.mark.parametrize(
    ("fields", "classification"),
    [
        # Running, whatever the results contain: the error of a block may still be retried or handled.
        ({"stopped_at": None}, RUNNING),
        ({"stopped_at": None, "results": BLOCK_ERROR}, RUNNING),
        ({"stopped_at": None, "finished": True}, RUNNING),
        ({"stopped_at": None, "status": "success"}, RUNNING),
        ({"status": "running"}, RUNNING),
        ({"status": "Waiting", "results": BLOCK_ERROR}, RUNNING),
        # Failed by its own fields, stopped or not.
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
        # The error of a block decides only without a known status.
        ({"results": BLOCK_ERROR}, FAILED),
        ({"results": BLOCK_ERROR, "finished": True}, FAILED),
        ({"results": BLOCK_ERROR, "status": "odd"}, FAILED),
        ({"results": {"b": {"error": "x"}}}, FAILED),
        ({"results": [None, 7, {"error": "x"}]}, FAILED),
        ({"finished": True}, SUCCEEDED),
        # An unknown status is never a success.
        ({"finished": True, "status": "odd"}, UNKNOWN),
        ({"finished": False}, UNKNOWN),
        ({}, UNKNOWN),
        ({"message": "done"}, UNKNOWN),
    ],
)
def test_first_applicable_rule_decides(fields: dict[str, Any], classification: Classification) -> None:
    assert classifier().classify(a_run(**fields)) is classification


@pytest.mark.parametrize("nothing", [None, "", {}, [], False])
def test_empty_error_is_no_error(nothing: object) -> None:
    assert not has_error(a_run(error=nothing))
    assert not has_block_error(a_run(results=[{"error": nothing}]))
    assert classifier().classify(a_run(error=nothing, results=[{"error": nothing}], finished=True)) is SUCCEEDED


@pytest.mark.parametrize("something", ["x", 0, 1, True, {"a": None}, [None], " "])
def test_nonempty_error_is_an_error(something: object) -> None:
    assert has_error(a_run(error=something))
    assert has_block_error(a_run(results=[{"error": something}]))


@pytest.mark.parametrize("spaced", [b" { } ", b"{ }", b"[ ]", b"[\n]", b' "" ', b" null "])
def test_empty_error_with_white_space_is_no_error(spaced: bytes) -> None:
    assert not has_error(Execution(id="e", error=msgspec.Raw(spaced)))
    assert not has_block_error(Execution(id="e", results=msgspec.Raw(b'[{"error": ' + spaced + b"}]")))


@given(trees | st.lists(st.dictionaries(st.sampled_from(["error", "a"]), trees, max_size=2), max_size=4))
@examples(200)
def test_any_results_are_classified_by_their_block_errors(results: Any) -> None:
    blocks = list(results.values()) if isinstance(results, dict) else results if isinstance(results, list) else []
    errors = [block["error"] for block in blocks if isinstance(block, dict) and "error" in block]
    assume(not any(isinstance(each, dict) and BLOCK_KEYS & each.keys() for each in errors))  # blocks named "error"
    expected = any(error not in (None, "", {}, [], False) for error in errors)
    zero = any(error == 0 for error in errors)  # 0 == False in Python
    assert has_block_error(a_run(results=results)) == expected or zero


@given(st.binary(max_size=100))
@examples(200)
def test_results_that_are_not_json_are_no_success(results: bytes) -> None:
    assert classifier().classify(Execution(id="e", stopped_at=NOON, results=msgspec.Raw(results))) in (UNKNOWN, FAILED)


time_values = st.sampled_from(
    ["", "2022-10-04T01:12:59.508Z", "2022-10-04T01:12:59", "1969-12-31T23:59:59Z"]
) | st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "2022-10-04T03:12:59+02:00", 7, None, "soon"])
records = st.fixed_dictionaries(
    {"executionId": st.sampled_from(["e-1", "", "é" * 170, "e" * 171, "e" * 1025, 7])},
    optional={
        "stoppedAt": time_values,
        "completedAt": time_values,
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
def test_only_succeeded_executions_are_skipped(page: list[Any], overlapping: bool) -> None:
    chosen = classifier(failure_statuses=["failed", "succeeded"]) if overlapping else classifier()
    executions = decode_page(json.dumps({"data": page}).encode()).executions
    skip_obvious_successes = chosen.skip_obvious_successes(executions)
    skipped = [execution for execution in executions if execution not in skip_obvious_successes]
    assert {chosen.classify(execution) for execution in skipped} <= {SUCCEEDED}
    # The skip must apply to these two, which are most of a log.
    plain = [a_run(status="success", results=BLOCK_ERROR), a_run(finished=True, results=[{"data": 1}], error=None)]
    assert chosen.skip_obvious_successes(plain) == []


def test_error_name_with_escapes_is_not_skipped() -> None:
    results = msgspec.Raw(rb'[{"\u0065rror": "x"}]')
    execution = Execution(id="e", stopped_at=NOON, finished=True, results=results)
    assert classifier().skip_obvious_successes([execution]) == [execution]
    assert classifier().classify(execution) is FAILED


def test_status_sets_are_read_from_settings() -> None:
    chosen = classifier(failure_statuses=["Kaputt"], success_statuses=["Gut"], running_statuses=["Noch"])
    result = [chosen.classify(a_run(status=status)) for status in ("KAPUTT", "gut", "noch", "failed", "success")]
    assert result == [FAILED, SUCCEEDED, RUNNING, UNKNOWN, UNKNOWN]
    assert classifier(unknown_status="ignore").forward_unknown is False


def test_unknown_status_is_new_once() -> None:
    """At most a hundred statuses are remembered, and no later one is new."""
    chosen = classifier()
    assert [chosen.is_new_status("odd"), chosen.is_new_status("odd")] == [True, False]
    assert sum(chosen.is_new_status(f"odd-{number}") for number in range(1000)) == 99
