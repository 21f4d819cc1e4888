"""What every kind of ledger must do. A kind's own test module inherits these and says where one is kept."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import timedelta
from typing import TypeAlias

import pytest

from forwarder.ledger import Books, Dead, Ledger, Postponed, Pulse, Reading, Sent, Settlement
from forwarder.model import Checkpoint, Feed
from tests.clocks import NOON
from tests.loops import looped
from tests.samples import FEED, begun, entry

Open: TypeAlias = Callable[[], AbstractAsyncContextManager[Ledger]]

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
OTHER = Feed("w-2", "u-1")
BUS, ANOTHER_BUS = "eu-west-1/failures", "eu-west-1/another"


async def owe(ledger: Ledger, *ids: str, feed: Feed = FEED) -> int:
    await begun(ledger, feed, Checkpoint())
    return await ledger.record(feed, [entry(execution_id, feed=feed) for execution_id in ids], now=NOON)


async def taken(ledger: Ledger, limit: int = 100, after: timedelta = timedelta()) -> dict[str, int]:
    """Id to token, in the order in which they were handed out."""
    return {owed.entry.execution_id: owed.token for owed in await ledger.take(limit, now=NOON + after)}


async def forget_all(ledger: Ledger, *, now: timedelta, remember: timedelta = DAY, keep: timedelta = HOUR) -> None:
    while await ledger.sweep(now=NOON + now, remember=remember, keep_payload=keep):
        pass


class LedgerContract(ABC):
    """`opened()` is a process of its own on the one ledger of the test."""

    @abstractmethod
    def place(self) -> AbstractContextManager[Open]: ...

    @pytest.fixture
    def opened(self) -> Iterator[Open]:
        with self.place() as opened:
            yield opened

    @looped
    async def test_a_feed_begins_where_it_is_told_once(self, opened: Open) -> None:
        begins = Checkpoint(NOON, NOON - HOUR, NOON - DAY, NOON + HOUR, {"e-9": NOON, "🫖\x00": NOON - DAY})
        async with opened() as ledger:
            assert await begun(ledger, FEED, begins) == begins
            assert await begun(ledger, Feed(FEED.workflow_id, "u"), Checkpoint()) == Checkpoint()
        async with opened() as ledger:
            assert await begun(ledger, FEED, Checkpoint()) == begins

    @looped
    async def test_an_id_is_recorded_once_whatever_the_feed_the_page_and_the_process(self, opened: Open) -> None:
        async with opened() as ledger:
            assert await owe(ledger, "a", "b", "a") == 2
            assert await owe(ledger, "b", "c", feed=OTHER) == 1
            assert await ledger.known(["a", "c", "d"]) == {"a", "c"}
            assert await ledger.known([]) == set()
        async with opened() as ledger:
            assert await owe(ledger, "a", "b", "c") == 0
            assert (await ledger.audit()).recorded == 3
            assert [await ledger.find(each) for each in "abcd"] == [FEED, FEED, OTHER, None]

    @pytest.mark.parametrize("execution_id", ["a/b c", "🫖" * 256, "\x00", "'; DROP TABLE executions --", "A", "1"])
    @looped
    async def test_an_id_is_what_it_is(self, opened: Open, execution_id: str) -> None:
        async with opened() as ledger:
            assert await owe(ledger, execution_id, "a", execution_id.strip("A") + "x") == 3
            assert next(iter(await taken(ledger))) == execution_id
            assert await ledger.known([execution_id]) == {execution_id}

    @looped
    async def test_what_is_owed_comes_back_as_it_was_recorded(self, opened: Open) -> None:
        owed = entry("a", feed=OTHER, time=NOON - timedelta(microseconds=1), detail=b'{"a":"' + b"x" * 300_000 + b'"}')
        async with opened() as ledger:
            await begun(ledger, OTHER, Checkpoint())
            await ledger.record(OTHER, [owed], now=NOON)
        async with opened() as ledger:
            (back,) = await ledger.take(1, now=NOON)
            assert (back.entry, back.attempts, back.strikes, back.replay) == (owed, 0, 0, False)

    @looped
    async def test_the_checkpoint_moves_with_its_page_or_not_at_all(self, opened: Open) -> None:
        moved = Checkpoint(NOON, NOON, None, NOON, {"open": NOON})
        async with opened() as ledger:
            await begun(ledger, FEED, Checkpoint())
            await ledger.record(FEED, [entry("a")], now=NOON, checkpoint=moved)
            await ledger.record(FEED, [entry("b")], now=NOON)
        async with opened() as ledger:
            assert await begun(ledger, FEED, Checkpoint()) == moved
            assert await ledger.known(["a", "b"]) == {"a", "b"}

    @looped
    async def test_nothing_taken_is_handed_out_again_before_it_is_settled_or_released(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, *"abcde")
            first = await taken(ledger, 2)
            second = await taken(ledger, 2)
            assert (list(first), list(second)) == (["a", "b"], ["c", "d"])
            ledger.release([first["b"]])
            assert list(await taken(ledger)) == ["b", "e"]
            assert await taken(ledger) == {}
            assert await ledger.next_due() is None
            await ledger.settle([Postponed(second["c"], "ThrottlingException", NOON)], now=NOON)
            assert list(await taken(ledger)) == ["c"]

    @looped
    async def test_what_was_taken_by_a_process_that_died_is_owed_as_before(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, "a", "b")
            await taken(ledger)
        async with opened() as ledger:
            assert list(await taken(ledger)) == ["a", "b"]

    @looped
    async def test_an_entry_is_due_no_sooner_than_it_was_postponed_to(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, "a", "b")
            tokens = await taken(ledger)
            await ledger.settle([Postponed(tokens["a"], "X", NOON + 60 * SECOND, strike=True)], now=NOON)
            await ledger.settle([Postponed(tokens["b"], "Y", NOON + SECOND)], now=NOON)
            assert await ledger.next_due() == NOON + SECOND
            assert await taken(ledger) == {}
            assert list(await taken(ledger, after=SECOND)) == ["b"]
            assert await ledger.next_due() == NOON + 60 * SECOND
            (late,) = await ledger.take(9, now=NOON + 60 * SECOND)
            assert (late.entry.execution_id, late.attempts, late.strikes) == ("a", 1, 1)

    @looped
    async def test_a_clock_that_is_set_back_keeps_no_entry_waiting(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, "a")
            (owed,) = await ledger.take(9, now=NOON - HOUR)
            assert owed.entry.execution_id == "a"

    @looped
    async def test_each_outcome_is_booked_and_a_second_time_changes_nothing(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, *"abcd")
            token = await taken(ledger)
            outcomes: list[Settlement] = [
                Sent(token["a"], "event-1"),
                Dead(token["b"], "MalformedDetail", "why"),
                Postponed(token["c"], "X", NOON),
            ]
            for _ in range(2):
                await ledger.settle(outcomes, now=NOON)
                assert await ledger.audit() == Books(recorded=4, owed=2, sent=1, dead=1)
            await ledger.settle([Dead(token["a"], "X", ""), Sent(token["b"], "event-2")], now=NOON)
            await ledger.settle([Postponed(token["a"], "X", NOON), Postponed(token["b"], "X", NOON)], now=NOON)
            await ledger.settle([], now=NOON)
            assert await ledger.audit() == Books(recorded=4, owed=2, sent=1, dead=1)
            assert set(await taken(ledger)) == {"c"}

    @looped
    async def test_the_oldest_owed_is_told(self, opened: Open) -> None:
        async with opened() as ledger:
            assert await ledger.oldest_owed() is None
            await owe(ledger, "a")
            await ledger.record(FEED, [entry("b")], now=NOON + HOUR)
            assert await ledger.oldest_owed() == NOON
            await ledger.settle([Sent((await taken(ledger))["a"], "e")], now=NOON)
            assert await ledger.oldest_owed() == NOON + HOUR

    @looped
    async def test_word_of_the_daemon_and_its_readings_is_left_for_others(self, opened: Open) -> None:
        pulse = Pulse(NOON, 4711, {"bus": {"state": "HEALTHY", "why": ""}})
        async with opened() as ledger:
            assert await ledger.pulse() is None
            await begun(ledger, FEED, Checkpoint())
            await ledger.note(pulse, {FEED: Reading(NOON, "cut short"), Feed("unknown"): Reading(NOON)})
        async with opened() as verb:
            assert await verb.pulse() == pulse
            (status,) = await verb.feeds()
            assert (status.feed, status.checkpoint, status.reading) == (FEED, Checkpoint(), Reading(NOON, "cut short"))
