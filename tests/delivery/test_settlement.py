"""Settlements are written whatever fails, and nothing is published while a write fails."""

import asyncio
from datetime import datetime
from typing import Any, cast

from forwarder.delivery.settlement import SettlementWriter
from forwarder.errors import LedgerUnavailable
from forwarder.health import Health
from forwarder.ledger import Ledger, Sent
from forwarder.model import State
from tests.virtual_clock import NOON, QuickClock

BUS = "eu-west-1/failures"


class FailingLedger:
    """A ledger that fails a number of times before it writes."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.written: list[Any] = []

    async def settle(self, settlements: Any, *, now: datetime, bus: str) -> int:
        assert (now >= NOON, bus) == (True, BUS)
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise LedgerUnavailable("the disk is full", hint="free some space")
        self.written += settlements
        return len(self.written)


async def test_failed_write_is_retried_and_blocks_the_writer() -> None:
    clock, ledger = QuickClock(), FailingLedger(failures=30)
    health = Health(clock.now)
    settlement_writer = SettlementWriter(cast("Ledger", ledger), clock, health)
    waiting = asyncio.create_task(settlement_writer.settle([Sent(1, "e")], BUS))
    for _ in range(100):
        await asyncio.sleep(0)
    ready_meanwhile = settlement_writer.is_ready
    assert health.components["ledger"].state is State.FAILED
    await asyncio.gather(waiting, settlement_writer.wait_until_ready())
    assert not ready_meanwhile
    assert ledger.written == [Sent(1, "e")]
    assert settlement_writer.is_ready
    assert max(clock.slept) <= 5


async def test_writer_is_ready_only_after_the_last_write() -> None:
    clock, ledger = QuickClock(), FailingLedger(failures=20)
    settlement_writer = SettlementWriter(cast("Ledger", ledger), clock, Health(clock.now))
    await asyncio.gather(*(settlement_writer.settle([Sent(token, "e")], BUS) for token in range(5)))
    assert sorted(settlement.token for settlement in ledger.written) == [0, 1, 2, 3, 4]
    assert settlement_writer.is_ready
