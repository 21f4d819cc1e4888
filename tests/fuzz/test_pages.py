"""Any bytes of a page become valid events or an unreadable page."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import jsonschema
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from forwarder.alloy.decode import decode_page
from forwarder.alloy.json_repair import repair_json
from forwarder.errors import PageUnreadable
from forwarder.event.truncate import entry_bytes
from forwarder.intake.classify import Classifier
from forwarder.intake.transform import EventBuilder
from forwarder.untrusted_json import JSON_ERRORS
from tests.alloy.pages import body, encoded, malformed, record
from tests.event.closed_schema import closed_schema
from tests.factories import FEED, examples, some_settings, trees
from tests.fakes.put_events import entry_refusal
from tests.fuzz.byte_strategies import damaged, hostile
from tests.virtual_clock import NOON

VALIDATOR = jsonschema.Draft202012Validator(closed_schema())
SETTINGS = some_settings(destination={"max_entry_bytes": 16_384})
CLASSIFIER, BUILDER = Classifier.from_settings(SETTINGS.source), EventBuilder.from_settings(SETTINGS)
STAMP = {"Source": "alloy.embedded", "DetailType": "Workflow Execution Failed"}

VALID_PAGES = [body([encoded(record("e-1", outcome, variant)) for variant in ("product-page", "2024-03", "2025-09")])
        for outcome in ("failed-status", "failed-block", "running")]  # fmt: skip


def as_events(page: bytes) -> None:
    """Build the event of each record whatever its class, and check it by the rules of EventBridge and the schema."""
    try:
        records = decode_page(page)
    except PageUnreadable:
        return
    for execution in records.executions:
        CLASSIFIER.classify(execution)
        execution.is_older_than(NOON)
        entry = BUILDER.build(execution, FEED, NOON)
        assert entry_refusal({**STAMP, "Detail": entry.detail.decode()}) is None
        assert entry_bytes(STAMP["Source"], STAMP["DetailType"], entry.detail) <= SETTINGS.destination.max_entry_bytes
        VALIDATOR.validate(json.loads(entry.detail))


@given(hostile(*VALID_PAGES))
@examples(200)
def test_any_page_becomes_events_or_is_unreadable(page: bytes) -> None:
    as_events(page)


@given(
    st.lists(malformed, min_size=1, max_size=3).map(body).flatmap(damaged) | st.lists(malformed, max_size=3).map(body)
)
@examples(100)
def test_damaged_records_become_events_or_are_unreadable(page: bytes) -> None:
    as_events(page)


@given(st.lists(st.dictionaries(st.sampled_from(
    ["executionId", "startedAt", "stoppedAt", "completedAt", "status", "finished", "message", "error", "results"]
), trees), max_size=3))  # fmt: skip
@examples(200)
def test_records_of_any_shape_become_events_or_are_refused(listed: list[Any]) -> None:
    as_events(encoded({"data": listed}))


@given(hostile(*VALID_PAGES))
@examples(200)
def test_json_repair_ends_for_any_bytes_and_is_idempotent(page: bytes) -> None:
    repaired = repair_json(page)
    with contextlib.suppress(*JSON_ERRORS):
        msgspec.json.decode(repaired)
        assert repair_json(repaired) == repaired
