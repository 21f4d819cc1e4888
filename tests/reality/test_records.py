"""Records in the formats of similar engines: each has a visible and correct outcome."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from forwarder.alloy.decode import decode_page
from forwarder.intake.classify import Classifier
from forwarder.intake.transform import unredacted_error
from forwarder.model import Classification
from tests.e2e.harness import detail, sent
from tests.factories import some_settings
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

ERROR = {"message": "the shop answered 503", "httpCode": "503"}
JS_START = "Fri Nov 20 2026 03:12:40 GMT+0000 (Coordinated Universal Time)"
JS_STOP = "Fri Nov 20 2026 03:12:59 GMT+0000 (Coordinated Universal Time)"
TIMES = {"startedAt": "2026-11-20T03:12:40Z", "stoppedAt": "2026-11-20T03:12:59Z"}


def classification_of(record: dict[str, Any]) -> tuple[Classification, dict[str, Any]]:
    body = json.dumps({"data": [{"executionId": "e", **TIMES, **record}]}).encode()
    (execution,) = decode_page(body).executions
    classifier = Classifier.from_settings(some_settings().source)
    if not classifier.skip_obvious_successes([execution]):
        return Classification.SUCCEEDED, {}
    return classifier.classify(execution), unredacted_error(execution)


@pytest.mark.parametrize(
    ("results", "block"),
    [
        ([{"blockId": "b", "error": ERROR}], "b"),
        ({"HTTP Request": [{"startTime": 1, "executionStatus": "error", "error": ERROR}]}, "HTTP Request"),
        ({"HTTP Request": [{"executionStatus": "success"}, {"error": ERROR}]}, "HTTP Request"),
        ([[{"blockId": "a"}], [{"blockId": "b"}, {"blockId": "c", "error": ERROR}]], "c"),
        ([[[[{"blockId": "b", "error": ERROR}]]]], "b"),
        ([{"blockId": "b", "runs": [{"startTime": 1}, {"startTime": 2, "error": ERROR}]}], "b"),
        ([{"blockId": "b", "data": [[{"json": {}, "error": ERROR}]]}], "b"),
        ([{"connectorId": "b", "data": {"main": [[{"json": None, "error": ERROR}]]}}], "b"),
        ({"runData": {"Send": [{"startTime": 1, "data": {"main": [[]]}, "error": ERROR}]}}, "Send"),
        ({"error": [{"executionStatus": "error", "startTime": 1, "error": ERROR}]}, "error"),
    ],
)
def test_block_error_counts_at_any_depth(results: Any, block: str) -> None:
    classification, error = classification_of({"finished": True, "results": results})
    assert classification is Classification.FAILED
    assert error == {"message": "the shop answered 503", "code": "503", "blockId": block}


@pytest.mark.parametrize("status", ["error", "failed", "crashed"])
def test_block_status_without_an_error_counts(status: str) -> None:
    results = {"Send": [{"startTime": 1, "executionStatus": status}]}
    classification, error = classification_of({"finished": True, "results": results})
    assert (classification, error["blockId"]) == (Classification.FAILED, "Send")


@pytest.mark.parametrize(
    "results",
    [
        [{"blockId": "b", "data": [[{"json": {"error": "out of stock", "status": "failed"}}]]}],
        [{"blockId": "b", "data": {"error": "out of stock"}}],
        [{"blockId": "b", "data": [{"orderId": 1, "error": "out of stock"}]}],
        {"Send": [{"startTime": 1, "executionStatus": "success", "data": {"main": [[{"json": {"error": "x"}}]]}}]},
        [{"blockId": "b", "error": None, "response": {"error": "x"}}],
        [{"blockId": "b", "error": {}, "runs": [{"error": ""}]}],
    ],
)
def test_error_in_a_payload_does_not_count(results: Any) -> None:
    assert classification_of({"finished": True, "results": results})[0] is Classification.SUCCEEDED


@pytest.mark.parametrize("start", ["N/A", "soon", None, JS_START])
def test_unreadable_stop_is_a_stop(start: str | None) -> None:
    record = {"startedAt": start, "stoppedAt": "when it was done", "results": [{"blockId": "b", "error": "boom"}]}
    assert classification_of(record)[0] is Classification.FAILED


def test_block_errors_in_runs_reach_the_bus(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    nested = {"HTTP Request": [{"startTime": 1, "executionStatus": "error", "error": ERROR}]}
    alloy.api.add("w", {"executionId": "deep-1", **TIMES, "finished": True, "results": nested})
    alloy.api.add(
        "w",
        {
            "executionId": "t-1",
            "startedAt": JS_START,
            "stoppedAt": JS_STOP,
            "finished": False,
            "results": [{"blockId": "b-1", "error": "boom"}],
        },
    )
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["deep-1", "t-1"]
    assert detail(bus, "deep-1")["error"] == {"message": ERROR["message"], "code": "503", "blockId": "HTTP Request"}
    assert detail(bus, "t-1")["stoppedAt"] == "2026-11-20T03:12:59.000Z"


UNREADABLE = {"startedAt": "early", "stoppedAt": "late", "results": [{"blockId": "b", "error": "boom"}]}


def test_feed_without_times_from_the_beginning_is_sent(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    alloy.api.add("w", {"executionId": "t-2", **UNREADABLE})
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["t-2"]
    assert detail(bus, "t-2")["stoppedAt"] is None


def test_feed_without_times_from_now_is_failed(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", start_from="now")
    alloy.api.add("w", {"executionId": "t-3", **UNREADABLE})
    done = installation.run_command("once")
    assert done.code != 0
    assert "no time that can be read" in done.output
    assert 'start_from = "beginning"' in done.output
    assert sent(bus) == []


def test_record_without_times_among_others_is_sent(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", start_from="now")
    alloy.api.add("w", {"executionId": "t-4", **UNREADABLE})
    alloy.api.add("w", {"executionId": "old", **TIMES, "status": "success"})
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["t-4"]


def test_huge_list_of_numbers_is_truncated() -> None:
    numbers = b"[" + b"137," * 2_000_000 + b"1]"
    record = b'{"executionId":"e","status":"failed","results":[{"blockId":"b","error":"x","data":' + numbers + b"}]}"
    (execution,) = decode_page(b'{"data":[' + record + b"]}").executions
    from forwarder.alloy.json_tree import decode_tree, is_truncated  # noqa: PLC0415  # one test needs it

    assert is_truncated(execution.results)
    assert msgspec.json.encode(decode_tree(execution.results)) == (
        b'[{"blockId":"b","error":"x","data":"[2000001 numbers]"}]'
    )
