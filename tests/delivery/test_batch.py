"""Requests are filled up to the limits of the bus, in order, without losing an entry."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.aws.eventbridge import Event
from forwarder.delivery.batch import MAX_ENTRIES, Batch, Batcher, EventTemplate
from forwarder.event.idempotency import idempotency_key
from forwarder.event.truncate import entry_bytes
from forwarder.model import ClaimedEntry
from tests.factories import entry, examples, some_settings
from tests.fakes import put_events

TEMPLATE = EventTemplate("alloy.embedded", "Workflow Execution Failed", 260_000)
LIMIT = 20_000


def claimed(token: int, size: int = 20) -> ClaimedEntry:
    return ClaimedEntry(token, entry(f"e-{token}", detail=json.dumps({"a": "x" * size}).encode()))


def packed(batcher: Batcher, max_entries: int = MAX_ENTRIES) -> list[Batch]:
    batches = []
    while batcher:
        batches.append(batcher.next_batch(max_entries))
    return batches


def event_bytes(event: Event) -> int:
    return entry_bytes(event.source, event.detail_type, event.detail)


def request_bytes(batch: Batch) -> int:
    """Return the size of a request by the formula of the fake bus."""
    return sum(
        put_events.entry_bytes(
            {"Time": 1, "Source": event.source, "DetailType": event.detail_type, "Detail": event.detail.decode()}
        )
        for event in batch.events
    )


@given(
    st.lists(st.one_of(st.integers(0, 3000), st.integers(15_000, 21_000), st.just(100_000)), max_size=40),
    st.integers(1, MAX_ENTRIES),
    st.integers(0, 5),
)
@examples(300)
def test_batches_keep_limits_order_and_all_entries(sizes: list[int], max_entries: int, parts: int) -> None:
    entries = [claimed(token, size) for token, size in enumerate(sizes)]
    batcher = Batcher(TEMPLATE, LIMIT)
    for part in range(parts + 1):  # in several portions, as they are claimed
        batcher.add(entries[part :: parts + 1])
    batches = packed(batcher, max_entries)
    expected = [each for part in range(parts + 1) for each in entries[part :: parts + 1]]
    assert [each for batch in batches for each in batch.entries] == expected
    for batch in batches:
        assert 1 <= len(batch.entries) == len(batch.events) <= max_entries
        assert request_bytes(batch) <= LIMIT or len(batch.entries) == 1
        assert [event.detail for event in batch.events] == [each.entry.detail for each in batch.entries]
    for batch, following in pairwise(batches):
        # The next event would exceed a limit.
        assert len(batch.entries) == max_entries or request_bytes(batch) + event_bytes(following.events[0]) > LIMIT


def test_batch_is_filled_to_the_last_byte() -> None:
    first, second = claimed(1, 9000), claimed(2, 9000)
    limit = sum(event_bytes(TEMPLATE.build(each)) for each in (first, second))
    for spare, requests in ((0, 1), (-1, 2)):
        batcher = Batcher(TEMPLATE, limit + spare)
        batcher.add([first, second])
        assert len(packed(batcher)) == requests


def test_drain_returns_all_queued_entries() -> None:
    batcher = Batcher(TEMPLATE, LIMIT)
    batcher.add(claimed(token) for token in range(15))
    batcher.next_batch()
    assert [each.token for each in batcher.drain()] == [10, 11, 12, 13, 14]
    assert not batcher


@pytest.mark.parametrize("length", [1, 2, 3, 10])
def test_split_keeps_all_entries_in_order(length: int) -> None:
    batcher = Batcher(TEMPLATE, LIMIT)
    batcher.add(claimed(token) for token in range(length))
    batch = batcher.next_batch()
    first, second = batch.split()
    assert (first.entries + second.entries, first.events + second.events) == (batch.entries, batch.events)
    assert length == 1 or (first.entries and second.entries)


def test_entry_over_new_limit_is_truncated_when_published() -> None:
    detail = {"executionId": "e-1", "error": {"message": "m", "stack": "s" * 50_000}, "results": ["x" * 90_000]}
    recorded = entry("e-1", detail=json.dumps(detail).encode())
    template = EventTemplate.of(some_settings(destination={"max_entry_bytes": 16_384}, event={"detail_type": "Other"}))
    event = template.build(ClaimedEntry(1, recorded))
    assert (event.detail_type, event.time) == ("Other", recorded.time)
    assert event_bytes(event) <= 16_384
    assert json.loads(event.detail)["executionId"] == "e-1"


@given(st.integers(0, 30_000))
@examples(30)
def test_replay_is_marked_and_fits(size: int) -> None:
    detail = {"executionId": "e-1", "error": {"message": "m"}, "results": ["x" * size], "forwarder": {"version": "0"}}
    recorded = entry("e-1", detail=json.dumps(detail).encode())
    event = EventTemplate("s", "t", 16_384).build(ClaimedEntry(1, recorded, send_number=2))
    assert event_bytes(event) <= 16_384
    key = idempotency_key("e-1", 2)
    assert json.loads(event.detail)["forwarder"] == {"version": "0", "idempotencyKey": key, "replay": True}
