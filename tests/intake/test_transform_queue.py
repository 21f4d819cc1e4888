"""The queue of the transformation keeps the event loop responsive, however much arrives at once."""

import asyncio
from collections import Counter
from datetime import datetime

import pytest

from forwarder.intake.transform import MAX_PORTION_BYTES, MIN_THREAD_RESULT_BYTES, TransformQueue
from forwarder.model import Entry, Execution, Feed
from tests.factories import FEED, a_failure
from tests.virtual_clock import NOON


class RecordingBuilder:
    """A builder of empty entries that counts the bytes of results in each turn of the event loop."""

    def __init__(self) -> None:
        self.iteration = 0
        self.bytes_by_iteration: Counter[int] = Counter()

    def build_or_minimal(self, execution: Execution, feed: Feed, now: datetime) -> Entry:
        self.bytes_by_iteration[self.iteration] += len(execution.results)
        return Entry(execution.id, feed, now, b"{}")

    async def count_iterations(self) -> None:
        while True:
            self.iteration += 1
            await asyncio.sleep(0)


def failures(count: int, size: int) -> list[Execution]:
    return [a_failure(f"e-{number}", results="x" * (size - 2)) for number in range(count)]


@pytest.mark.parametrize("size", [2, 2000, MAX_PORTION_BYTES, 2 * MAX_PORTION_BYTES])
async def test_one_portion_of_all_feeds_is_built_in_each_turn(size: int) -> None:
    builder = RecordingBuilder()
    queue = TransformQueue(builder)
    counting = asyncio.create_task(builder.count_iterations())
    pages = [failures(30, size) for _ in range(8)]
    built = await asyncio.gather(*(queue.build_all(page, FEED, NOON) for page in pages))
    counting.cancel()
    assert [[entry.execution_id for entry in entries] for entries in built] == [[each.id for each in pages[0]]] * 8
    assert builder.bytes_by_iteration.total() == 8 * 30 * size
    assert max(builder.bytes_by_iteration.values()) <= max(size, MAX_PORTION_BYTES)


async def test_feed_with_many_failures_does_not_delay_another() -> None:
    builder = RecordingBuilder()
    queue = TransformQueue(builder)
    many = asyncio.create_task(queue.build_all(failures(1000, MAX_PORTION_BYTES), FEED, NOON))
    await asyncio.sleep(0)
    await queue.build_all(failures(1, 10), FEED, NOON)
    assert not many.done()
    many.cancel()


async def test_entries_built_in_a_thread_keep_their_order() -> None:
    page = [*failures(3, 10), a_failure("large", results="x" * MIN_THREAD_RESULT_BYTES), a_failure("last")]
    built = await TransformQueue(RecordingBuilder()).build_all(page, FEED, NOON)
    assert [entry.execution_id for entry in built] == [each.id for each in page]


async def test_empty_page_has_no_entries() -> None:
    assert await TransformQueue(RecordingBuilder()).build_all([], FEED, NOON) == []
