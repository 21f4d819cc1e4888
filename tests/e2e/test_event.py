"""The content of events: the payload setting, trimming, and the JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from forwarder.demo.sample_data import FAILURES, VARIANTS, execution
from tests.e2e.harness import detail, fail, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.fakes.put_events import entry_bytes
from tests.harness.installation import Installation

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    installation = Installation(tmp_path_factory.mktemp("schema"), alloy="http://127.0.0.1:9", bus="http://127.0.0.1:9")
    installation.settings_file.unlink()
    done = installation.run_command("schema")
    assert done.code == 0, "it needs no settings"
    return done.json()


def assert_valid(bus: StrictEventBridge, schema: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    for event in bus.delivered:
        validator.validate(event.detail)


def test_event_of_every_variant_matches_the_schema(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, schema: Any
) -> None:
    for variant in VARIANTS:
        for sign in FAILURES:
            fail(alloy, f"{variant} {sign}", outcome=sign, variant=variant)
    installation.change("source", workflows=["w", {"id": "v", "user_id": "u"}])
    alloy.api.add("v", execution("unfinished", id="of-user", started=alloy.api.now()), user_id="u")
    assert installation.run_command("once").code == 0
    assert len(sent(bus)) == len(VARIANTS) * len(FAILURES) + 1
    assert_valid(bus, schema)


ODD: dict[str, dict[str, Any]] = {
    "no times": {"startedAt": None, "stoppedAt": None},
    "invalid times": {"startedAt": "yesterday", "stoppedAt": 12},
    "an error that is a list": {"error": ["a", {"b": 1}]},
    "an error that is a number": {"error": 500},
    "an error code that is a number": {"error": {"code": 500, "message": "m"}},
    "a message that is an object": {"error": {"message": {"text": "m"}}},
    "a status that is a number": {"status": 500, "error": "x"},
    "no results": {"results": None},
    "results an object": {"results": {"a": 1}},
    "stopped before it started": {"startedAt": "2026-06-01T00:00:00Z", "stoppedAt": "2026-01-01T00:00:00Z"},
    "a time with an offset": {"startedAt": "2026-06-01T00:00:00+02:00", "stoppedAt": "2026-06-01T01:00:00+02:00"},
}


def test_event_of_an_odd_execution_matches_the_schema(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, schema: Any
) -> None:
    for id_, fields in ODD.items():
        alloy.api.add("w", execution("failed-status", id=id_, started=alloy.api.now()) | fields)
    assert installation.run_command("once").code == 0
    assert sent(bus) == sorted(ODD)
    assert_valid(bus, schema)


def test_payload_full_has_the_results_of_every_block(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a", outcome="failed-block")
    installation.run_command("once")
    results = detail(bus, "a")["results"]
    assert len(results) == 2
    assert "Earl Grey" in json.dumps(results)


def test_payload_errors_has_failed_blocks_without_data(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, schema: Any
) -> None:
    installation.change("event", payload="errors")
    fail(alloy, "a", outcome="failed-block", payload={"order": "the-customers-own"})
    installation.run_command("once")
    (block,) = detail(bus, "a")["results"]
    assert "422" in json.dumps(block["error"])
    assert not block.get("data")
    assert "the-customers-own" not in str(bus.delivered[0].entry)
    assert_valid(bus, schema)


def test_payload_none_has_no_results(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, schema: Any
) -> None:
    installation.change("event", payload="none")
    fail(alloy, "a", outcome="failed-block", payload={"order": "the-customers-own"})
    installation.run_command("once")
    assert "results" not in detail(bus, "a")
    assert "422" in detail(bus, "a")["error"]["message"]
    assert "the-customers-own" not in str(bus.delivered[0].entry)
    assert_valid(bus, schema)


LIMIT = 20_000


@pytest.fixture(scope="module")
def trimmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictEventBridge]:
    """Send executions that are too large for different reasons. Their IDs name the reasons."""
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        installation = Installation(tmp_path_factory.mktemp("trimmed"), alloy=alloy.url, bus=bus.url)
        installation.create_vault()
        installation.change("destination", max_entry_bytes=LIMIT)
        started = alloy.api.now()
        fail(alloy, "fits")
        fail(alloy, "other block", outcome="failed-block", payload={"text": "x" * LIMIT})
        large = execution("failed-block", id="failed block", started=started)
        large["results"][1]["data"] = [{"json": {"text": "y" * LIMIT}}]
        alloy.api.add("w", large)
        fail(alloy, "message")
        alloy.api.update("message", error={"message": "m" * LIMIT, "stack": "s" * 100})
        fail(alloy, "stack")
        alloy.api.update("stack", error={"message": "short", "stack": "s" * 1000 + "\n" * LIMIT})
        fail(alloy, "blocks")
        alloy.api.update("blocks", results=[{"blockId": f"b{number}"} for number in range(3000)])
        fail(alloy, "wide 🫖", payload={"text": "🫖" * (LIMIT // 4)})
        done = installation.run_command("once")
        assert done.code == 0, done.output
        yield bus


TOO_LARGE = ["other block", "failed block", "message", "stack", "blocks", "wide 🫖"]


@pytest.mark.parametrize("id_", ["fits", *TOO_LARGE])
def test_large_events_are_trimmed_to_the_limit_and_sent(trimmed: StrictEventBridge, id_: str) -> None:
    (event,) = [event for event in trimmed.delivered if event.detail["executionId"] == id_]
    assert entry_bytes(dict(event.entry)) <= LIMIT


@pytest.mark.parametrize("id_", TOO_LARGE)
def test_trimmed_event_names_removed_parts_and_its_size(trimmed: StrictEventBridge, schema: Any, id_: str) -> None:
    trimming = detail(trimmed, id_)["trimmed"]
    assert trimming["shed"]
    assert trimming["originalBytes"] > LIMIT
    assert_valid(trimmed, schema)


def test_event_below_the_limit_is_not_trimmed(trimmed: StrictEventBridge) -> None:
    assert "trimmed" not in detail(trimmed, "fits")


def test_trimming_removes_data_of_other_blocks_first(trimmed: StrictEventBridge) -> None:
    event = detail(trimmed, "other block")
    assert event["trimmed"]["shed"] == ["data of other blocks"]
    assert event["error"]["stack"]


def test_trimming_removes_the_error_last(trimmed: StrictEventBridge) -> None:
    assert detail(trimmed, "blocks")["error"]["message"]
    assert detail(trimmed, "message")["error"]["message"].startswith("m" * 500)


def test_smaller_limit_applies_to_pending_entries(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    bus.buses.clear()
    fail(alloy, "a", outcome="failed-block", payload={"text": "x" * 50_000})
    installation.run_command("once", "--timeout", "300ms")
    bus.buses.add("failures")
    installation.change("destination", max_entry_bytes=LIMIT)
    assert installation.run_command("once").code == 0
    assert entry_bytes(dict(bus.delivered[0].entry)) <= LIMIT
    assert detail(bus, "a")["trimmed"]["shed"] == ["data of other blocks"]
