"""What every kind of ledger must do. A kind's own test module inherits these and says where one is kept."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import timedelta
from typing import TypeAlias

import pytest

from forwarder.ledger import Books, Dead, Ledger, Postponed, Pulse, Reading, Sent, Settlement, Window
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
    async def test_a_dead_letter_tells_its_story(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, "a")
            for number in range(25):
                (owed,) = await ledger.take(1, now=NOON + number * SECOND)
                await ledger.settle([Postponed(owed.token, f"C{number}", NOON)], now=NOON + number * SECOND)
            (owed,) = await ledger.take(1, now=NOON + HOUR)
            await ledger.settle([Dead(owed.token, "MalformedDetail", "no object")], now=NOON + HOUR)
        async with opened() as ledger:
            (letter,) = await ledger.dead_letters()
            assert letter == await ledger.dead_letter("a")
            assert (letter.entry, letter.code, letter.reason) == (entry("a"), "MalformedDetail", "no object")
            assert (letter.recorded_at, letter.died_at, letter.attempted) == (NOON, NOON + HOUR, 26)
            kept = [*(f"C{number}" for number in [*range(10), *range(16, 25)]), "MalformedDetail"]
            assert [attempt.code for attempt in letter.attempts] == kept
            assert (letter.left_out, letter.attempts[0].at, letter.attempts[-1].at) == (6, NOON, NOON + HOUR)
            assert await ledger.dead_letter("b") is None

    @looped
    async def test_a_dead_letter_that_was_accepted_before_tells_of_that_too(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, "a")
            tokens = await taken(ledger)
            await ledger.settle([Postponed(tokens["a"], "ThrottlingException", NOON)], now=NOON)
            await taken(ledger)
            await ledger.settle([Sent(tokens["a"], "id")], now=NOON + SECOND)
            assert await ledger.replay(Window(NOON, NOON + HOUR), now=NOON + SECOND) == 1
            await ledger.take(1, now=NOON + HOUR)
            await ledger.settle([Dead(tokens["a"], "MalformedDetail", "")], now=NOON + HOUR)
            (letter,) = await ledger.dead_letters()
            told = [(attempt.code, attempt.at) for attempt in letter.attempts]
            assert told == [
                ("ThrottlingException", NOON), ("Accepted", NOON + SECOND), ("MalformedDetail", NOON + HOUR),
            ]  # fmt: skip
            assert (letter.attempted, letter.left_out) == (3, 0)

    async def _bury(self, ledger: Ledger, ids: Sequence[str]) -> None:
        await owe(ledger, *ids)
        tokens = await taken(ledger)
        await ledger.settle([Dead(tokens[each], "MalformedDetail", "") for each in ids], now=NOON)

    @looped
    async def test_the_dead_are_owed_again_on_request(self, opened: Open) -> None:
        async with opened() as ledger:
            await self._bury(ledger, "abc")
            assert await ledger.retry_dead(["b", "b", "unknown"], now=NOON + 60 * SECOND) == 1
            assert await taken(ledger) == {}
            (again,) = await ledger.take(9, now=NOON + 60 * SECOND)
            assert (again.entry.execution_id, again.strikes) == ("b", 0)
            assert await ledger.retry_dead(["b"], now=NOON) == 0
            assert await ledger.retry_dead(None, now=NOON) == 2
            assert await ledger.audit() == Books(recorded=3, owed=3)

    @looped
    async def test_what_a_missing_bus_accepted_since_it_was_seen_is_owed_again_whatever_the_clock_did(
        self, opened: Open
    ) -> None:
        async with opened() as ledger:
            await owe(ledger, *"abc")
            token = await taken(ledger)
            first = await ledger.settle([Sent(token["a"], "e-a")], now=NOON + HOUR, bus=BUS)
            assert first == await ledger.last_settle()
            await ledger.note_bus(BUS, first)
            assert await ledger.buses_in_doubt() == []
            await ledger.settle([Sent(token["b"], "e-b")], now=NOON - HOUR, bus=BUS)
            await ledger.note_bus(BUS, first - 1)  # an older sight, noted late
            await ledger.settle([Sent(token["c"], "e-c")], now=NOON + DAY, bus=BUS)
            assert await ledger.buses_in_doubt() == [BUS]
            assert await ledger.owe_again(ANOTHER_BUS, now=NOON) == 0
            assert await ledger.owe_again(BUS, now=NOON) == 2
            assert sorted(await taken(ledger)) == ["b", "c"]
            assert await ledger.owe_again(BUS, now=NOON) == 0
            assert await ledger.buses_in_doubt() == []
            assert await ledger.audit() == Books(recorded=3, owed=2, sent=1)

    @looped
    async def test_a_bus_that_is_missed_twice_is_owed_what_it_swallowed_in_between(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, *"ab")
            token = await taken(ledger)
            await ledger.note_bus(BUS, 0)
            await ledger.settle([Sent(token["a"], "e-a")], now=NOON, bus=BUS)
            assert await ledger.owe_again(BUS, now=NOON) == 1
            await ledger.settle([Sent(token["b"], "e-b")], now=NOON, bus=BUS)
            assert await ledger.owe_again(BUS, now=NOON) == 1
            assert sorted(await taken(ledger)) == ["a", "b"]

    @looped
    async def test_what_is_in_doubt_is_kept_however_old_it_is(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, *"ab")
            token = await taken(ledger)
            seen = await ledger.settle([Sent(token["a"], "e-a")], now=NOON, bus=BUS)
            await ledger.note_bus(BUS, seen)
            await ledger.settle([Sent(token["b"], "e-b")], now=NOON, bus=BUS)
            await ledger.sweep(now=NOON + DAY, remember=365 * DAY, keep_payload=HOUR)
            assert await ledger.owe_again(BUS, now=NOON + DAY) == 1
            assert list(await taken(ledger, after=DAY)) == ["b"]
            assert (await ledger.audit()).sent == 1

    @looped
    async def test_what_one_bus_accepted_is_not_owed_again_because_another_was_missing(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, *"ab")
            token = await taken(ledger)
            await ledger.note_bus(BUS, 0)
            await ledger.note_bus(ANOTHER_BUS, 0)
            await ledger.settle([Sent(token["a"], "e-a")], now=NOON, bus=BUS)
            await ledger.settle([Sent(token["b"], "e-b")], now=NOON, bus=ANOTHER_BUS)
        async with opened() as ledger:
            assert sorted(await ledger.buses_in_doubt()) == [ANOTHER_BUS, BUS]
            assert await ledger.owe_again(BUS, now=NOON) == 1
            assert list(await taken(ledger)) == ["a"]
            await ledger.note_bus(ANOTHER_BUS, await ledger.last_settle())
            assert await ledger.buses_in_doubt() == []

    @looped
    async def test_the_purged_are_gone_but_for_their_ids(self, opened: Open) -> None:
        async with opened() as ledger:
            await self._bury(ledger, "abc")
            assert await ledger.purge_dead(["a", "unknown"]) == 1
            assert await ledger.purge_dead(["a"]) == 0
            assert [letter.entry.execution_id for letter in await ledger.dead_letters()] == ["b", "c"]
            assert await ledger.purge_dead(None) == 2
            assert await owe(ledger, *"abc") == 0
            assert await ledger.retry_dead(None, now=NOON) == 0
            assert await ledger.audit() == Books(recorded=3, purged=3)

    @looped
    async def test_another_process_sees_and_changes_the_same_ledger(self, opened: Open) -> None:
        async with opened() as daemon, opened() as verb:
            await self._bury(daemon, "ab")
            assert {letter.entry.execution_id for letter in await verb.dead_letters()} == {"a", "b"}
            assert await verb.retry_dead(["a"], now=NOON) == 1
            assert await verb.purge_dead(None) == 1
            assert list(await taken(daemon)) == ["a"]
            assert await verb.books() == await daemon.audit() == Books(recorded=2, owed=1, purged=1)

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
