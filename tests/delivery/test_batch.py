"""Requests are packed to the limits of the bus, in order, and nothing is left out."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.aws.bus import Event
from forwarder.delivery.batch import MOST_ENTRIES, Batch, Packer, Stamp
from forwarder.event.size import entry_bytes
from forwarder.model import Owed
from tests.fakes import put_events
from tests.samples import entry, examples, some_settings

STAMP = Stamp("alloy.embedded", "Workflow Execution Failed", 262_144)
LIMIT = 20_000


def owed(token: int, size: int = 20) -> Owed:
    return Owed(token, entry(f"e-{token}", detail=json.dumps({"a": "x" * size}).encode()))


def packed(packer: Packer, most: int = MOST_ENTRIES) -> list[Batch]:
    batches = []
    while packer:
        batches.append(packer.next(most))
    return batches


def event_bytes(event: Event) -> int:
    return entry_bytes(event.source, event.detail_type, event.detail)


def request_bytes(batch: Batch) -> int:
    """As the bus counts them."""
    return sum(
        put_events.entry_bytes(
            {"Time": 1, "Source": event.source, "DetailType": event.detail_type, "Detail": event.detail.decode()}
        )
        for event in batch.events
    )


@given(
    st.lists(st.one_of(st.integers(0, 3000), st.integers(15_000, 21_000), st.just(100_000)), max_size=40),
    st.integers(1, MOST_ENTRIES),
    st.integers(0, 5),
)
@examples(300)
def test_requests_are_within_every_limit_in_order_and_none_is_left_out(sizes: list[int], most: int, parts: int) -> None:
    entries = [owed(token, size) for token, size in enumerate(sizes)]
    packer = Packer(STAMP, LIMIT)
    for part in range(parts + 1):  # in several portions, as they are taken
        packer.add(entries[part :: parts + 1])
    batches = packed(packer, most)
    expected = [each for part in range(parts + 1) for each in entries[part :: parts + 1]]
    assert [each for batch in batches for each in batch.owed] == expected
    for batch in batches:
        assert 1 <= len(batch.owed) == len(batch.events) <= most
        assert request_bytes(batch) <= LIMIT or len(batch.owed) == 1
        assert [event.detail for event in batch.events] == [each.entry.detail for each in batch.owed]
    for batch, following in pairwise(batches):
        # No request is smaller than it has to be.
        assert len(batch.owed) == most or request_bytes(batch) + event_bytes(following.events[0]) > LIMIT


def test_a_request_is_filled_to_the_last_byte() -> None:
    first, second = owed(1, 9000), owed(2, 9000)
    limit = sum(event_bytes(STAMP.event(each)) for each in (first, second))
    for spare, requests in ((0, 1), (-1, 2)):
        packer = Packer(STAMP, limit + spare)
        packer.add([first, second])
        assert len(packed(packer)) == requests


def test_what_waits_can_be_taken_back_whole() -> None:
    packer = Packer(STAMP, LIMIT)
    packer.add(owed(token) for token in range(15))
    packer.next()
    assert [each.token for each in packer.empty()] == [10, 11, 12, 13, 14]
    assert not packer


@pytest.mark.parametrize("length", [1, 2, 3, 10])
def test_halves_are_the_whole_in_order(length: int) -> None:
    packer = Packer(STAMP, LIMIT)
    packer.add(owed(token) for token in range(length))
    batch = packer.next()
    first, second = batch.halves()
    assert (first.owed + second.owed, first.events + second.events) == (batch.owed, batch.events)
    assert length == 1 or (first.owed and second.owed)


def test_what_was_recorded_under_wider_limits_is_trimmed_as_it_is_published() -> None:
    detail = {"executionId": "e-1", "error": {"message": "m", "stack": "s" * 50_000}, "results": ["x" * 90_000]}
    recorded = entry("e-1", detail=json.dumps(detail).encode())
    stamp = Stamp.of(some_settings(destination={"max_entry_bytes": 16_384}, event={"detail_type": "Other"}))
    event = stamp.event(Owed(1, recorded))
    assert (event.detail_type, event.time) == ("Other", recorded.time)
    assert event_bytes(event) <= 16_384
    assert json.loads(event.detail)["executionId"] == "e-1"


@given(st.integers(0, 30_000))
@examples(30)
def test_a_replay_says_so_and_still_fits(size: int) -> None:
    detail = {"executionId": "e-1", "error": {"message": "m"}, "results": ["x" * size], "forwarder": {"version": "0"}}
    recorded = entry("e-1", detail=json.dumps(detail).encode())
    event = Stamp("s", "t", 16_384).event(Owed(1, recorded, replay=True))
    assert event_bytes(event) <= 16_384
    assert json.loads(event.detail)["forwarder"] == {"version": "0", "replay": True}
