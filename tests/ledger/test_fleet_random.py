"""A property of a shared table: whatever the processes do and suffer, nothing is lost, settled twice or miscounted."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from forwarder.errors import LedgerUnavailable
from forwarder.ledger import Settlement
from forwarder.ledger.dynamodb import table as requests
from forwarder.ledger.dynamodb.member_list import MISSED_HEARTBEATS
from forwarder.model import Token
from tests.factories import examples
from tests.harness.dynamodb_faults import LOSE_REPLY, LOSE_REQUEST, PARTIAL, THROTTLED, execute, seeded
from tests.ledger.fleet_table import BUS, Process, SharedTable, shared_table
from tests.ledger.random_operations import settlement
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

T = TypeVar("T")

PROCESSES = 3
MAX_STEPS = 30

IDS = [f"e-{number}" for number in range(10)]

RATES = [(0.15, LOSE_REPLY), (0.1, LOSE_REQUEST), (0.1, THROTTLED), (0.2, PARTIAL)]

LATER = timedelta(days=1)

slots = st.integers(0, PROCESSES - 1)
some_ids = st.lists(st.sampled_from(IDS), max_size=4)


class FleetMachine(RuleBasedStateMachine):
    """Three processes on one table. A process that ended is replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.table: SharedTable
        self.processes: list[Process] = []
        self.claims: list[dict[str, Token]] = [{} for _ in range(PROCESSES)]
        self.recorded: set[str] = set()

    def run(self, operation: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(operation)

    def attempt(self, operation: Awaitable[T]) -> T | None:
        """Return the result of an operation, or None if the table was not available."""

        async def attempt() -> T | None:
            try:
                return await operation
            except LedgerUnavailable:
                return None

        return self.run(attempt())

    @initialize()
    def open(self) -> None:
        self.table = self.run(self.stack.enter_async_context(shared_table()))
        self.processes = [self.run(self.table.member()) for _ in range(PROCESSES)]

    @rule(slot=slots, ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=4))
    def record(self, slot: int, ids: list[str]) -> None:
        if self.attempt(self.processes[slot].record(*ids)) is not None:
            self.recorded.update(ids)

    @rule(slots=st.tuples(slots, slots), ids=some_ids)
    def record_at_once(self, slots: tuple[int, int], ids: list[str]) -> None:
        async def record() -> None:
            work = [self.processes[slot].record(*ids) for slot in slots]
            await asyncio.gather(*work, *(self.processes[slot].beat() for slot in slots), return_exceptions=True)

        self.run(record())

    @rule(slot=slots)
    def claim(self, slot: int) -> None:
        self.claims[slot] |= self.attempt(self.processes[slot].tokens(after=LATER)) or {}

    @rule(slot=slots, outcomes=st.lists(st.sampled_from(["sent", "dead", "postponed"]), min_size=1, max_size=4))
    def settle(self, slot: int, outcomes: list[str]) -> None:
        """Settle again what could not be settled, with the same outcome, as delivery does."""
        settlements: list[Settlement] = []
        for execution_id, outcome in zip(list(self.claims[slot]), outcomes, strict=False):
            settlements.append(settlement(self.claims[slot].pop(execution_id), outcome, NOON))
        ledger = self.processes[slot].ledger
        for _ in range(20):
            if self.attempt(ledger.settle(settlements, now=NOON, bus=BUS)) is not None:
                return

    @rule(slot=slots)
    def beat(self, slot: int) -> None:
        self.attempt(self.processes[slot].beat())

    @rule(slot=slots)
    def take_over_all_others(self, slot: int) -> None:
        """Let the others pause for long, or die, if they do not beat any more."""
        for _ in range(MISSED_HEARTBEATS + 1):
            self.attempt(self.processes[slot].beat())

    @rule(slot=slots, is_killed=st.booleans())
    def end(self, slot: int, is_killed: bool) -> None:
        process = self.processes[slot]
        self.run(process.kill() if is_killed else process.leave())
        self.claims[slot].clear()
        self.processes[slot] = self.run(self.table.member())

    @rule(slot=slots, seed=st.integers(0, 2**16))
    def suffer(self, slot: int, seed: int) -> None:
        self.processes[slot].proxy.plan = seeded(seed, RATES)

    @rule(slot=slots)
    def recover(self, slot: int) -> None:
        self.processes[slot].proxy.plan = execute

    @rule(slot=slots, ids=some_ids, kind=st.sampled_from(["retry", "purge", "replay"]), is_command=st.booleans())
    def request(self, slot: int, ids: list[str], kind: str, is_command: bool) -> None:
        process = self.run(self.table.start()) if is_command else self.processes[slot]
        ledger = process.ledger
        requested: dict[str, Callable[[], Awaitable[int]]] = {
            "retry": lambda: ledger.retry_dead_letters(ids or None, now=NOON),
            "purge": lambda: ledger.purge_dead_letters(ids),
            "replay": lambda: ledger.replay_executions(ids, now=NOON),
        }
        self.attempt(requested[kind]())

    @rule(slot=slots)
    def miss_bus(self, slot: int) -> None:
        ledger = self.processes[slot].ledger
        self.attempt(ledger.save_bus_verified(BUS, 0))
        self.attempt(ledger.requeue(BUS, now=NOON))

    @rule(slot=slots, days=st.integers(10, 40))
    def renew(self, slot: int, days: int) -> None:
        ledger, now = self.processes[slot].ledger, NOON + timedelta(days=days)
        self.attempt(ledger.apply_retention(now=now, id_retention=timedelta(days=400), payload_retention=LATER))

    def teardown(self) -> None:
        try:
            if self.processes:
                self.run(self.verify())
        finally:
            self.run(self.stack.aclose())
            self.runner.close()

    async def verify(self) -> None:
        """Let one new process deliver what all others left."""
        for process in self.processes:
            process.proxy.plan = execute
        await self.processes[0].leave()
        await self.processes[1].kill()
        survivor = await self.table.member()
        for _ in range(2 * MISSED_HEARTBEATS):
            await self.processes[2].beat()
            await survivor.beat()
        await self.processes[2].leave()
        for _ in range(2 * MISSED_HEARTBEATS):
            await survivor.beat()
        assert await survivor.ledger.known_ids(IDS) >= self.recorded
        for token in (await survivor.tokens(after=LATER)).values():
            await survivor.send(token)
        await survivor.beat()
        assert (await self.table.verify()).pending == 0


def test_random_fleet_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAX_ATTEMPTS", 2)
    run_state_machine_as_test(FleetMachine, settings=settings(examples(1, short=2), stateful_step_count=MAX_STEPS))
