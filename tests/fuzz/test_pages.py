"""From the bytes of a page to the detail of an event: nothing that an API can say is more than an unreadable page."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import jsonschema
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from forwarder.alloy.dialect import BROKEN, decode_page
from forwarder.alloy.mend import mend
from forwarder.errors import PageUnreadable
from forwarder.event.schema import schema
from forwarder.event.size import entry_bytes
from forwarder.intake.selection import Selection
from forwarder.intake.shaping import Shaper
from tests.alloy.pages import body, encoded, odd, record
from tests.clocks import NOON
from tests.fakes.put_events import refused_entry
from tests.fuzz.bytes import damaged, hostile
from tests.samples import FEED, examples, some_settings, trees

VALIDATOR = jsonschema.Draft202012Validator(schema())
SETTINGS = some_settings(destination={"max_entry_bytes": 16_384})
SELECTION, SHAPER = Selection.of(SETTINGS.source), Shaper.of(SETTINGS)
STAMP = {"Source": "alloy.embedded", "DetailType": "Workflow Execution Failed"}

GOOD = [body([encoded(record("e-1", outcome, variant)) for variant in ("product-page", "2024-03", "2025-09")])
        for outcome in ("failed-status", "failed-block", "running")]  # fmt: skip


def as_events(page: bytes) -> None:
    """All the way in, each record whatever its verdict, and judged as EventBridge and a consumer would."""
    try:
        records = decode_page(page)
    except PageUnreadable:
        return
    for execution in records.executions:
        SELECTION.judge(execution)
        execution.is_older_than(NOON)
        entry = SHAPER.shape(execution, FEED, NOON)
        assert refused_entry({**STAMP, "Detail": entry.detail.decode()}) is None
        assert entry_bytes(STAMP["Source"], STAMP["DetailType"], entry.detail) <= SETTINGS.destination.max_entry_bytes
        VALIDATOR.validate(json.loads(entry.detail))


@given(hostile(*GOOD))
@examples(200)
def test_any_page_is_events_or_unreadable(page: bytes) -> None:
    as_events(page)


@given(st.lists(odd, min_size=1, max_size=3).map(body).flatmap(damaged) | st.lists(odd, max_size=3).map(body))
@examples(100)
def test_odd_records_are_events_or_unreadable(page: bytes) -> None:
    as_events(page)


@given(st.lists(st.dictionaries(st.sampled_from(
    ["executionId", "startedAt", "stoppedAt", "completedAt", "status", "finished", "message", "error", "results"]
), trees), max_size=3))  # fmt: skip
@examples(200)
def test_records_of_any_shape_are_events_or_refused(listed: list[Any]) -> None:
    as_events(encoded({"data": listed}))


@given(hostile(*GOOD))
@examples(200)
def test_mending_any_bytes_ends_and_what_it_made_readable_stays_as_it_is(page: bytes) -> None:
    mended = mend(page)
    with contextlib.suppress(*BROKEN):
        msgspec.json.decode(mended)
        assert mend(mended) == mended
