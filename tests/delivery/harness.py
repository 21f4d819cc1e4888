"""A dispatcher with a ledger on disk and a fake bus behind a socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forwarder.aws.eventbridge import EventBridgeBus
from forwarder.delivery.dispatcher import Dispatcher
from forwarder.delivery.settlement import SettlementWriter
from forwarder.health import Health
from forwarder.ledger import Counters, SqliteLedger
from forwarder.metrics import Metrics
from forwarder.model import Checkpoint
from tests.aws.harness import identity, stored_keys
from tests.factories import FEED, entry, some_settings
from tests.fakes.eventbridge import BUS, REGION, StrictEventBridge
from tests.fakes.signing import Key
from tests.virtual_clock import NOON, QuickClock


@dataclass
class DeliveryHarness:
    ledger: SqliteLedger
    delivery: Dispatcher
    health: Health
    clock: QuickClock

    async def record(self, ids: str | list[str], **options: Any) -> None:
        await self.ledger.add_feeds({FEED: Checkpoint()})
        await self.ledger.record(FEED, [entry(each, **options) for each in ids], now=NOON)

    async def send(self) -> Counters:
        """Deliver until nothing is pending, or the bus refuses us, and return the counters."""
        async with asyncio.timeout(20):
            await self.delivery.run(until_empty=True)
            await self.delivery.drain()
        return await self.ledger.audit()

    async def dead_letters(self) -> dict[str, str]:
        return {dead_letter.entry.execution_id: dead_letter.code for dead_letter in await self.ledger.dead_letters()}


@asynccontextmanager
async def delivery_harness(
    bridge: StrictEventBridge, folder: Path, key: Key | None = None, **destination: Any
) -> AsyncIterator[DeliveryHarness]:
    clock = QuickClock()
    health = Health(clock.now)
    aws_identity = identity(bridge, **destination)
    if key is not None:
        aws_identity = type(aws_identity)(aws_identity.destination, stored_keys(key))
    settings = some_settings(destination={"event_bus": BUS, "region": REGION, **destination})
    async with SqliteLedger(folder / "ledger.db", create=True) as ledger, EventBridgeBus(aws_identity, clock) as bus:
        settlement_writer = SettlementWriter(ledger, clock, health)
        yield DeliveryHarness(
            ledger, Dispatcher(bus, ledger, settlement_writer, settings, clock, health, Metrics()), health, clock
        )


def delivered(bridge: StrictEventBridge) -> list[str]:
    return [event.detail["executionId"] for event in bridge.delivered]
