"""Shaping in turns, so that whatever comes at once, nobody else waits for long."""

import asyncio
from collections import Counter
from datetime import datetime

import pytest

from forwarder.intake.turns import LONG_WORK, SHORT_WORK, Turns
from forwarder.model import Entry, Execution, Feed
from tests.clocks import NOON
from tests.loops import looped
from tests.samples import FEED, a_failure


class Noting:
    """Shapes nothing, and notes how many bytes of results it was given in each turn of the event loop."""

    def __init__(self) -> None:
        self.turn = 0
        self.given: Counter[int] = Counter()

    def shape_anything(self, execution: Execution, feed: Feed, now: datetime) -> Entry:
        self.given[self.turn] += len(execution.results)
        return Entry(execution.id, feed, now, b"{}")

    async def count_turns(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)


def failures(count: int, size: int) -> list[Execution]:
    return [a_failure(f"e-{number}", results="x" * (size - 2)) for number in range(count)]


@pytest.mark.parametrize("size", [2, 2000, SHORT_WORK, 2 * SHORT_WORK])
@looped
async def test_in_a_turn_of_the_loop_one_portion_is_shaped_for_all_feeds_together(size: int) -> None:
    noting = Noting()
    turns = Turns(noting)
    counting = asyncio.create_task(noting.count_turns())
    pages = [failures(30, size) for _ in range(8)]
    shaped = await asyncio.gather(*(turns.shape(page, FEED, NOON) for page in pages))
    counting.cancel()
    assert [[entry.execution_id for entry in entries] for entries in shaped] == [[each.id for each in pages[0]]] * 8
    assert noting.given.total() == 8 * 30 * size
    assert max(noting.given.values()) <= max(size, SHORT_WORK)


@looped
async def test_feeds_take_turns() -> None:
    """One with many failures does not keep another waiting until all of them are shaped."""
    noting = Noting()
    turns = Turns(noting)
    many = asyncio.create_task(turns.shape(failures(1000, SHORT_WORK), FEED, NOON))
    await asyncio.sleep(0)
    await turns.shape(failures(1, 10), FEED, NOON)
    assert not many.done()
    many.cancel()


@looped
async def test_the_largest_keep_their_place() -> None:
    page = [*failures(3, 10), a_failure("large", results="x" * LONG_WORK), a_failure("last")]
    shaped = await Turns(Noting()).shape(page, FEED, NOON)
    assert [entry.execution_id for entry in shaped] == [each.id for each in page]


@looped
async def test_nothing_is_shaped_of_an_empty_page() -> None:
    assert await Turns(Noting()).shape([], FEED, NOON) == []
