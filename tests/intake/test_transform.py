"""The transformation of any execution gives an entry that EventBridge accepts and the schema describes."""

import json
from datetime import timedelta
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.alloy.decode import decode_page
from forwarder.demo.sample_data import FAILURES, VARIANTS, execution
from forwarder.event.truncate import entry_bytes
from forwarder.intake.transform import EventBuilder, unredacted_error
from forwarder.model import MAX_ID_BYTES, Execution, Feed
from forwarder.time_format import rfc3339
from tests.event.closed_schema import closed_schema
from tests.factories import FEED, a_failure, examples, some_settings, texts, trees
from tests.fakes.put_events import entry_refusal
from tests.virtual_clock import NOON

VALIDATOR = jsonschema.Draft202012Validator(closed_schema())
SOURCE, DETAIL_TYPE = "alloy.embedded", "Workflow Execution Failed"


def detail_of(execution: Execution, *, feed: Feed = FEED, **sections: Any) -> dict[str, Any]:
    """Return the detail of the entry, checked against the rules of EventBridge and the schema."""
    settings = some_settings(**sections)
    entry = EventBuilder.from_settings(settings).build(execution, feed, NOON)
    assert entry_refusal({"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": entry.detail.decode()}) is None
    assert entry_bytes(SOURCE, DETAIL_TYPE, entry.detail) <= settings.destination.max_entry_bytes
    detail = json.loads(entry.detail)
    VALIDATOR.validate(detail)
    assert (entry.execution_id, entry.feed, detail["executionId"]) == (execution.id, feed, execution.id)
    return dict(detail)


def raw(tree: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(tree))


blocks = st.fixed_dictionaries(
    {}, optional={"blockId": trees, "connectorId": trees, "error": trees, "data": trees, "name": trees}
)
errors = trees | st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("message", "name", "code", "stack", "description", "error"), trees)
)
results = trees | st.lists(blocks, max_size=4) | st.dictionaries(texts, blocks, max_size=3)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
statuses = st.none() | texts | st.sampled_from(["failed", "x" * 5000, "Bearer abc.def"])


@given(results, errors, statuses, st.none() | texts, ids, ids, st.sampled_from(["full", "errors", "none"]))
@examples(120)
def test_any_json_becomes_an_event(
    results: Any, error: Any, status: str | None, message: str | None, execution_id: str, user: str, payload: str
) -> None:
    run = a_failure(execution_id, results=results, error=error, status=status, message=message)
    detail = detail_of(run, feed=Feed("w", user), event={"payload": payload})
    assert detail["userId"] == user
    assert detail["error"]["message"]


@given(st.binary(max_size=200), st.binary(max_size=200))
@examples(120)
def test_invalid_json_becomes_an_event(results: bytes, error: bytes) -> None:
    detail_of(Execution(id="e", error=msgspec.Raw(error), results=msgspec.Raw(results)))


@given(st.integers(1, 20_000), st.sampled_from(["[", '{"a":', '[{"error":', '{"error":{"a":['[:9]]), st.booleans())
@examples(40)
def test_any_depth_becomes_an_event(depth: int, opening: str, is_error: bool) -> None:
    closing = "".join("]" if char == "[" else "}" for char in reversed(opening) if char in "[{")
    nested = msgspec.Raw((opening * depth + "1" + closing * depth).encode())
    detail_of(Execution(id="e", error=nested) if is_error else Execution(id="e", results=nested))


@pytest.mark.parametrize(
    ("payload", "limit"),
    [
        ("full", 16_384),
        pytest.param("errors", 16_384, marks=pytest.mark.long),
        pytest.param("full", 260_000, marks=pytest.mark.long),
    ],
)
def test_ten_megabytes_in_any_field_become_an_event(payload: str, limit: int) -> None:
    huge = "ä🫖\n" * 1_500_000
    settings: dict[str, Any] = {"event": {"payload": payload}, "destination": {"max_entry_bytes": limit}}
    for run in (
        a_failure(error=huge),
        a_failure(error={"message": huge, "stack": huge, "name": huge, "code": huge}),
        a_failure(results=[{"blockId": huge, "error": huge}, {huge: huge}]),
        a_failure(status=huge, message=huge),
    ):
        assert detail_of(run, **settings)["trimmed"]["originalBytes"] > limit


def test_longest_fields_together_fit_the_smallest_entry() -> None:
    longest_id = "i" * MAX_ID_BYTES
    text = "\x01" * 100_000
    run = a_failure(longest_id, status=text, error={"message": text, "name": text, "code": text, "stack": text})
    detail = detail_of(run, feed=Feed(longest_id, longest_id), destination={"max_entry_bytes": 16_384})
    assert (detail["workflowId"], detail["userId"]) == (longest_id, longest_id)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("outcome", FAILURES)
def test_documented_variant_becomes_a_complete_event(variant: Any, outcome: Any) -> None:
    listed = execution(outcome, id="e-1", started=NOON - timedelta(seconds=1.5), stopped=NOON, variant=variant)
    (run,) = decode_page(json.dumps({"data": [listed]}).encode()).executions
    detail = detail_of(run)
    assert {name: detail[name] for name in ("version", "startedAt", "stoppedAt", "durationMs")} == {
        "version": "1",
        "startedAt": "2026-11-02T11:59:58.500Z",
        "stoppedAt": "2026-11-02T12:00:00.000Z",
        "durationMs": 1500,
    }
    assert "userId" not in detail
    assert detail["forwarder"]["observedAt"] == rfc3339(NOON)
    assert [block["id"] for block in detail["results"]] == [block["id"] for block in listed["results"]]
    assert "demo" not in json.dumps(detail)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"error": "no stock"}, {"message": "no stock"}),
        (
            {"error": {"message": "m", "name": "n", "code": 7, "stack": "s"}},
            {"message": "m", "name": "n", "code": "7", "stack": "s"},
        ),
        ({"error": {"reason": "r"}}, {"message": "r"}),
        (
            {"error": {"error": {"message": "inner", "code": "c"}, "name": "outer"}},
            {"message": "inner", "code": "c", "name": "outer"},
        ),
        ({"error": {"a": 1}}, {"message": '{"a":1}'}),
        ({"error": [1, 2]}, {"message": "[1,2]"}),
        ({"results": [{"blockId": "b-1"}, {"blockId": "b-2", "error": "x"}]}, {"message": "x", "blockId": "b-2"}),
        ({"results": [{"connectorId": "c-1", "error": {"message": "x"}}]}, {"message": "x", "blockId": "c-1"}),
        ({"results": {"first": {"blockId": "b-1", "error": "x"}}}, {"message": "x", "blockId": "b-1"}),
        ({"error": "top", "results": [{"blockId": "b-1", "error": "x"}]}, {"message": "top", "blockId": "b-1"}),
        ({"message": "out of memory"}, {"message": "out of memory"}),
        ({"message": "executionError"}, {"message": "the execution failed without an error message (status failed)"}),
        ({"status": None}, {"message": "the execution failed without an error message (no status)"}),
    ],
)
def test_error_is_taken_from_the_field_that_has_it(fields: dict[str, Any], expected: dict[str, str]) -> None:
    assert unredacted_error(a_failure(**fields)) == expected
    assert detail_of(a_failure(**fields))["error"] == expected


def test_payload_errors_keeps_failed_blocks_without_data() -> None:
    results = [{"blockId": "b-1", "data": [1]}, {"blockId": "b-2", "error": "x", "data": [2]}]
    run = a_failure(results=results)
    assert detail_of(run, event={"payload": "errors"})["results"] == [{"blockId": "b-2", "error": "x"}]
    assert "results" not in detail_of(run, event={"payload": "none"})
    assert detail_of(run)["results"] == results


def test_redaction_follows_the_settings() -> None:
    run = a_failure(results=[{"tenant": "t", "password": "p", "ip": "203.0.113.7"}], error="token=abc failed")
    detail = detail_of(run, event={"redact": ["tenant"], "redact_except": ["ip"]})
    assert detail["results"] == [{"tenant": "[redacted]", "password": "[redacted]", "ip": "203.0.113.7"}]
    assert detail["error"]["message"] == "token=[redacted] failed"


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"stopped_at": None}, ("2026-11-02T11:59:59.000Z", None, None)),
        ({"started_at": None}, (None, "2026-11-02T12:00:00.000Z", None)),
        ({"stopped_at": None, "completed_at": NOON}, ("2026-11-02T11:59:59.000Z", "2026-11-02T12:00:00.000Z", 1000)),
        ({"started_at": NOON + timedelta(hours=1)}, ("2026-11-02T13:00:00.000Z", "2026-11-02T12:00:00.000Z", 0)),
    ],
)
def test_missing_times_are_null_and_others_are_kept(times: dict[str, Any], expected: tuple[Any, ...]) -> None:
    detail = detail_of(a_failure(**times))
    assert (detail["startedAt"], detail["stoppedAt"], detail["durationMs"]) == expected
