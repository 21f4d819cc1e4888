"""Delivery with all its real parts, between a ledger on disk and a bus on a socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forwarder.aws.bus import ClassicBus
from forwarder.delivery.loop import Delivery
from forwarder.delivery.settle import Settler
from forwarder.health import Health
from forwarder.ledger import Books, SqliteLedger
from forwarder.metrics import Metrics
from forwarder.model import Checkpoint
from tests.aws.doors import identity, stored
from tests.clocks import NOON, QuickClock
from tests.fakes.eventbridge import BUS, REGION, StrictEventBridge
from tests.fakes.signing import Key
from tests.samples import FEED, entry, some_settings


@dataclass
class Sender:
    ledger: SqliteLedger
    delivery: Delivery
    health: Health
    clock: QuickClock

    async def owe(self, ids: str | list[str], **options: Any) -> None:
        await self.ledger.begin({FEED: Checkpoint()})
        await self.ledger.record(FEED, [entry(each, **options) for each in ids], now=NOON)

    async def send(self) -> Books:
        """Until nothing is owed, or the bus refuses us."""
        async with asyncio.timeout(20):
            await self.delivery.run(until_empty=True)
            await self.delivery.drain()
        return await self.ledger.audit()

    async def letters(self) -> dict[str, str]:
        return {letter.entry.execution_id: letter.code for letter in await self.ledger.dead_letters()}


@asynccontextmanager
async def a_sender(
    bridge: StrictEventBridge, folder: Path, key: Key | None = None, **destination: Any
) -> AsyncIterator[Sender]:
    clock = QuickClock()
    health = Health(clock.now)
    who = identity(bridge, **destination)
    if key is not None:
        who = type(who)(who.destination, stored(key))
    settings = some_settings(destination={"event_bus": BUS, "region": REGION, **destination})
    async with SqliteLedger(folder / "ledger.db", create=True) as ledger, ClassicBus(who, clock) as bus:
        settler = Settler(ledger, clock, health)
        yield Sender(ledger, Delivery(bus, ledger, settler, settings, clock, health, Metrics()), health, clock)


def delivered(bridge: StrictEventBridge) -> list[str]:
    return [event.detail["executionId"] for event in bridge.delivered]
