"""Whatever is asked of a ledger in whatever order, its books balance, and nothing is lost or owed twice: a property."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from forwarder.ledger import Counters, Dead, Ledger, Postponed, Sent
from forwarder.model import Checkpoint, Token
from tests.factories import FEED, begun, entry, examples
from tests.ledger.contract import LedgerContract, OpenLedger
from tests.virtual_clock import NOON

IDS = [f"e-{number}" for number in range(8)]
ID_RETENTION, PAYLOAD_RETENTION = timedelta(days=30), timedelta(days=1)

some_ids = st.none() | st.lists(st.sampled_from(IDS), max_size=3)
operations = st.one_of(
    st.tuples(st.just("read"), st.lists(st.sampled_from(IDS), max_size=5)),
    st.tuples(st.just("read"), st.lists(st.sampled_from(IDS), max_size=5)),
    st.tuples(st.just("claim"), st.integers(1, 5)),
    st.tuples(st.just("settle"), st.lists(st.sampled_from(["sent", "dead", "postponed"]), min_size=1, max_size=5)),
    st.tuples(st.just("settle again"), st.sampled_from(["sent", "dead"])),
    st.tuples(st.just("release"), st.none()),
    st.tuples(st.just("retry"), some_ids),
    st.tuples(st.just("purge"), some_ids),
    st.tuples(st.just("apply_retention"), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([timedelta(seconds=1), timedelta(hours=2), timedelta(days=31)])),
    st.tuples(st.just("restart"), st.none()),
)


class LedgerModel:
    """A ledger and what it ought to hold. Each id stopped at a time of its own, and is listed for ever."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.now = NOON
        self.states: dict[str, str] = {}
        self.due: dict[str, datetime] = {}
        self.claimed: dict[str, Token] = {}
        self.tokens: dict[str, Token] = {}
        self.forgotten = 0

    @staticmethod
    def stop(execution_id: str) -> datetime:
        return NOON + timedelta(days=10 * IDS.index(execution_id), milliseconds=1)

    async def read(self, ids: list[str]) -> None:
        """As a reader does: nothing that stopped at or before the floor."""
        floor = (await begun(self.ledger, FEED, Checkpoint())).floor
        payload_at = [
            each for each in ids if self.stop(each) <= self.now and (floor is None or self.stop(each) > floor)
        ]
        new = {each for each in payload_at if each not in self.states}
        assert await self.ledger.known_ids(ids) == {
            each for each in ids if self.states.get(each, "forgotten") != "forgotten"
        }
        entries = [entry(each, time=self.stop(each)) for each in payload_at]
        assert await self.ledger.record(FEED, entries, now=self.now) == len(new)
        self.states.update(dict.fromkeys(new, "pending"))
        self.due.update(dict.fromkeys(new, self.now))

    async def claim(self, limit: int) -> None:
        ready = {each for each, state in self.states.items() if state == "pending" and self.due[each] <= self.now}
        ready -= set(self.claimed)
        claimed_entries = await self.ledger.claim(limit, now=self.now)
        ids = [claimed_entry.entry.execution_id for claimed_entry in claimed_entries]
        assert len(ids) == len(set(ids)) == min(limit, len(ready))
        assert set(ids) <= ready
        assert [self.due[each] for each in ids] == sorted(self.due[each] for each in ids)
        for claimed_entry in claimed_entries:
            assert claimed_entry.entry == entry(
                claimed_entry.entry.execution_id, time=self.stop(claimed_entry.entry.execution_id)
            )
        self.claimed.update(
            {claimed_entry.entry.execution_id: claimed_entry.token for claimed_entry in claimed_entries}
        )
        self.tokens.update(self.claimed)

    async def settle(self, outcomes: list[str]) -> None:
        settlements: list[Any] = []
        for (each, token), outcome in zip(list(self.claimed.items()), outcomes, strict=False):
            del self.claimed[each]
            self.states[each] = "pending" if outcome == "postponed" else outcome
            self.due[each] = self.now + timedelta(minutes=1)
            settlements.append(self._settlement(token, outcome, self.due[each]))
        await self.ledger.settle(settlements, now=self.now)

    async def settle_again(self, outcome: str) -> None:
        """What was settled already is settled once more, as after a commit whose answer was lost."""
        ended = [token for each, token in self.tokens.items() if self.states[each] != "pending"]
        await self.ledger.settle([self._settlement(token, outcome, self.now) for token in ended], now=self.now)

    @staticmethod
    def _settlement(token: Token, outcome: str, due: datetime) -> Sent | Dead | Postponed:
        match outcome:
            case "sent":
                return Sent(token, "event")
            case "dead":
                return Dead(token, "MalformedDetail", "why")
            case _:
                return Postponed(token, "ThrottlingException", due)

    async def release(self, _: None) -> None:
        self.ledger.release(list(self.claimed.values()))
        self.claimed.clear()

    def _dead(self, ids: list[str] | None) -> list[str]:
        return [each for each, state in self.states.items() if state == "dead" and (ids is None or each in ids)]

    async def retry(self, ids: list[str] | None) -> None:
        dead = self._dead(ids)
        assert await self.ledger.retry_dead_letters(ids, now=self.now) == len(dead)
        self.states.update(dict.fromkeys(dead, "pending"))
        self.due.update(dict.fromkeys(dead, self.now))

    async def purge(self, ids: list[str] | None) -> None:
        dead = self._dead(ids)
        assert await self.ledger.purge_dead_letters(ids) == len(dead)
        self.states.update(dict.fromkeys(dead, "purged"))

    async def apply_retention(self, _: None) -> None:
        while await self.ledger.apply_retention(
            now=self.now, id_retention=ID_RETENTION, payload_retention=PAYLOAD_RETENTION
        ):
            pass
        known_ids = await self.ledger.known_ids(IDS)
        for each, state in self.states.items():
            if state != "forgotten" and each not in known_ids:
                assert state in ("sent", "purged")
                assert self.stop(each) <= self.now - ID_RETENTION + timedelta(seconds=1)
                self.states[each] = "forgotten"

    async def wait(self, seconds: timedelta) -> None:
        self.now += seconds

    async def check(self) -> None:
        counts = Counter(self.states.values())
        audited = await self.ledger.audit()
        assert audited == await self.ledger.counters()
        assert audited == Counters(recorded=len(self.states), **{state: counts[state] for state in
                             ("pending", "sent", "dead", "purged", "forgotten")})  # fmt: skip
        dead = {dead_letter.entry.execution_id for dead_letter in await self.ledger.dead_letters()}
        assert dead == set(self._dead(None))


class RandomOperationsContract(LedgerContract):
    @given(st.lists(operations, max_size=40))
    @examples(120)
    def test_counters_balance_after_random_operations(self, path: list[tuple[str, Any]]) -> None:
        with self.opener() as open_ledger:
            asyncio.run(run_operations(open_ledger, path))


async def run_operations(open_ledger: OpenLedger, path: list[tuple[str, Any]]) -> None:
    async with AsyncExitStack() as stack:
        state = LedgerModel(await stack.enter_async_context(open_ledger()))
        for name, argument in path:
            if name == "restart":
                await stack.aclose()
                state.ledger = await stack.enter_async_context(open_ledger())
                state.claimed.clear()
            else:
                await getattr(state, name.replace(" ", "_"))(argument)
            await state.check()
