"""Outcomes are booked without fail, and nothing is published while they are not."""

import asyncio
from datetime import datetime
from typing import Any, cast

from forwarder.delivery.settle import Settler
from forwarder.errors import LedgerUnavailable
from forwarder.health import Health
from forwarder.ledger import Ledger, Sent
from forwarder.model import State
from tests.clocks import NOON, QuickClock
from tests.loops import looped

BUS = "eu-west-1/failures"


class FailingLedger:
    """Fails a number of times before it books."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.booked: list[Any] = []

    async def settle(self, settlements: Any, *, now: datetime, bus: str) -> int:
        assert (now >= NOON, bus) == (True, BUS)
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise LedgerUnavailable("the disk is full", hint="make room")
        self.booked += settlements
        return len(self.booked)


@looped
async def test_an_outcome_is_booked_in_the_end_and_meanwhile_nothing_is_clear() -> None:
    clock, ledger = QuickClock(), FailingLedger(failures=30)
    health = Health(clock.now)
    settler = Settler(cast("Ledger", ledger), clock, health)
    waiting = asyncio.create_task(settler.settle([Sent(1, "e")], BUS))
    for _ in range(100):
        await asyncio.sleep(0)
    clear_meanwhile = settler.is_clear
    assert health.parts["ledger"].state is State.FAILED
    await asyncio.gather(waiting, settler.clear())
    assert not clear_meanwhile
    assert ledger.booked == [Sent(1, "e")]
    assert settler.is_clear
    assert max(clock.slept) <= 5


@looped
async def test_it_is_clear_only_when_the_last_of_them_is_booked() -> None:
    clock, ledger = QuickClock(), FailingLedger(failures=20)
    settler = Settler(cast("Ledger", ledger), clock, Health(clock.now))
    await asyncio.gather(*(settler.settle([Sent(token, "e")], BUS) for token in range(5)))
    assert sorted(settlement.token for settlement in ledger.booked) == [0, 1, 2, 3, 4]
    assert settler.is_clear
