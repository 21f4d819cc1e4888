"""Whatever is asked of a ledger in whatever order, its books balance, and nothing is lost or owed twice: a property."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from forwarder.ledger import Books, Dead, Ledger, Postponed, Sent
from forwarder.model import Checkpoint
from tests.clocks import NOON
from tests.ledger.contract import LedgerContract, Open
from tests.samples import FEED, begun, entry, examples

IDS = [f"e-{number}" for number in range(8)]
REMEMBER, KEEP = timedelta(days=30), timedelta(days=1)

some_ids = st.none() | st.lists(st.sampled_from(IDS), max_size=3)
steps = st.one_of(
    st.tuples(st.just("read"), st.lists(st.sampled_from(IDS), max_size=5)),
    st.tuples(st.just("read"), st.lists(st.sampled_from(IDS), max_size=5)),
    st.tuples(st.just("take"), st.integers(1, 5)),
    st.tuples(st.just("settle"), st.lists(st.sampled_from(["sent", "dead", "postponed"]), min_size=1, max_size=5)),
    st.tuples(st.just("settle again"), st.sampled_from(["sent", "dead"])),
    st.tuples(st.just("release"), st.none()),
    st.tuples(st.just("retry"), some_ids),
    st.tuples(st.just("purge"), some_ids),
    st.tuples(st.just("sweep"), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([timedelta(seconds=1), timedelta(hours=2), timedelta(days=31)])),
    st.tuples(st.just("restart"), st.none()),
)


class Walk:
    """A ledger and what it ought to hold. Each id stopped at a time of its own, and is listed for ever."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.now = NOON
        self.states: dict[str, str] = {}
        self.due: dict[str, datetime] = {}
        self.taken: dict[str, int] = {}
        self.tokens: dict[str, int] = {}
        self.forgotten = 0

    @staticmethod
    def stop(execution_id: str) -> datetime:
        return NOON + timedelta(days=10 * IDS.index(execution_id), milliseconds=1)

    async def read(self, ids: list[str]) -> None:
        """As a reader does: nothing that stopped at or before the floor."""
        floor = (await begun(self.ledger, FEED, Checkpoint())).floor
        listed = [each for each in ids if self.stop(each) <= self.now and (floor is None or self.stop(each) > floor)]
        new = {each for each in listed if each not in self.states}
        assert await self.ledger.known(ids) == {
            each for each in ids if self.states.get(each, "forgotten") != "forgotten"
        }
        entries = [entry(each, time=self.stop(each)) for each in listed]
        assert await self.ledger.record(FEED, entries, now=self.now) == len(new)
        self.states.update(dict.fromkeys(new, "owed"))
        self.due.update(dict.fromkeys(new, self.now))

    async def take(self, limit: int) -> None:
        ready = {each for each, state in self.states.items() if state == "owed" and self.due[each] <= self.now}
        ready -= set(self.taken)
        handed = await self.ledger.take(limit, now=self.now)
        ids = [owed.entry.execution_id for owed in handed]
        assert len(ids) == len(set(ids)) == min(limit, len(ready))
        assert set(ids) <= ready
        assert [self.due[each] for each in ids] == sorted(self.due[each] for each in ids)
        for owed in handed:
            assert owed.entry == entry(owed.entry.execution_id, time=self.stop(owed.entry.execution_id))
        self.taken.update({owed.entry.execution_id: owed.token for owed in handed})
        self.tokens.update(self.taken)

    async def settle(self, outcomes: list[str]) -> None:
        settlements: list[Any] = []
        for (each, token), outcome in zip(list(self.taken.items()), outcomes, strict=False):
            del self.taken[each]
            self.states[each] = "owed" if outcome == "postponed" else outcome
            self.due[each] = self.now + timedelta(minutes=1)
            settlements.append(self._settlement(token, outcome, self.due[each]))
        await self.ledger.settle(settlements, now=self.now)

    async def settle_again(self, outcome: str) -> None:
        """What was settled already is settled once more, as after a commit whose answer was lost."""
        ended = [token for each, token in self.tokens.items() if self.states[each] != "owed"]
        await self.ledger.settle([self._settlement(token, outcome, self.now) for token in ended], now=self.now)

    @staticmethod
    def _settlement(token: int, outcome: str, due: datetime) -> Sent | Dead | Postponed:
        match outcome:
            case "sent":
                return Sent(token, "event")
            case "dead":
                return Dead(token, "MalformedDetail", "why")
            case _:
                return Postponed(token, "ThrottlingException", due)

    async def release(self, _: None) -> None:
        self.ledger.release(list(self.taken.values()))
        self.taken.clear()

    def _dead(self, ids: list[str] | None) -> list[str]:
        return [each for each, state in self.states.items() if state == "dead" and (ids is None or each in ids)]

    async def retry(self, ids: list[str] | None) -> None:
        dead = self._dead(ids)
        assert await self.ledger.retry_dead(ids, now=self.now) == len(dead)
        self.states.update(dict.fromkeys(dead, "owed"))
        self.due.update(dict.fromkeys(dead, self.now))

    async def purge(self, ids: list[str] | None) -> None:
        dead = self._dead(ids)
        assert await self.ledger.purge_dead(ids) == len(dead)
        self.states.update(dict.fromkeys(dead, "purged"))

    async def sweep(self, _: None) -> None:
        while await self.ledger.sweep(now=self.now, remember=REMEMBER, keep_payload=KEEP):
            pass
        known = await self.ledger.known(IDS)
        for each, state in self.states.items():
            if state != "forgotten" and each not in known:
                assert state in ("sent", "purged")
                assert self.stop(each) <= self.now - REMEMBER + timedelta(seconds=1)
                self.states[each] = "forgotten"

    async def wait(self, seconds: timedelta) -> None:
        self.now += seconds

    async def check(self) -> None:
        counts = Counter(self.states.values())
        told = await self.ledger.audit()
        assert told == await self.ledger.books()
        assert told == Books(recorded=len(self.states), **{state: counts[state] for state in
                             ("owed", "sent", "dead", "purged", "forgotten")})  # fmt: skip
        dead = {letter.entry.execution_id for letter in await self.ledger.dead_letters()}
        assert dead == set(self._dead(None))


class WalkContract(LedgerContract):
    @given(st.lists(steps, max_size=40))
    @examples(120)
    def test_the_books_balance_after_anything_and_nothing_is_lost_or_owed_twice(
        self, path: list[tuple[str, Any]]
    ) -> None:
        with self.place() as opened:
            asyncio.run(walk(opened, path))


async def walk(opened: Open, path: list[tuple[str, Any]]) -> None:
    async with AsyncExitStack() as stack:
        state = Walk(await stack.enter_async_context(opened()))
        for name, argument in path:
            if name == "restart":
                await stack.aclose()
                state.ledger = await stack.enter_async_context(opened())
                state.taken.clear()
            else:
                await getattr(state, name.replace(" ", "_"))(argument)
            await state.check()
