"""An entry at whose content something in front of the bus, or AWS, fails does not hold up the others."""

import asyncio
from pathlib import Path

import pytest

from forwarder.health import ComponentStatus, Health
from forwarder.model import State
from tests.delivery.harness import DeliveryHarness, delivered, delivery_harness
from tests.fakes import bus_faults
from tests.fakes.actions import Action
from tests.fakes.bus_faults import Fault
from tests.fakes.eventbridge import StrictEventBridge
from tests.fakes.wire import Request
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("either_client")

CONTENT_FAULTS = {
    "a filter": bus_faults.html(403, delivered=False),
    "AWS": bus_faults.internal_failure(),
    "a policy": bus_faults.refused(403, "ForbiddenException", "Request blocked"),
    "a lost response": bus_faults.reset_after(delivered=False),
}


class ContentFilter(StrictEventBridge):
    """A bus in front of which something fails at the content of one entry."""

    fault: Fault | None = None
    failed_requests = 0

    def _handle(self, request: Request) -> Action:
        if self.fault is not None and b"poison" in request.body:
            request.fault = self.fault
            self.failed_requests += 1
        return super()._handle(request)


async def attempts(harness: DeliveryHarness, execution_id: str) -> int:
    """Return the number of attempts after which an entry was postponed."""
    stored = await harness.ledger.stored_entry(execution_id)
    assert stored is not None
    return stored.attempts


@pytest.mark.parametrize("cause", CONTENT_FAULTS)
async def test_neighbours_of_an_unsendable_entry_are_sent(tmp_path: Path, cause: str) -> None:
    """They share its requests, and it is the first of each. Then it waits, so that later ones are not delayed."""
    ids = [f"e-{number}" for number in range(9)]
    with ContentFilter() as bridge:
        bridge.fault = CONTENT_FAULTS[cause]
        async with delivery_harness(bridge, tmp_path) as harness:
            await harness.record(["poison", *ids])
            running = asyncio.create_task(harness.delivery.run())
            await until(lambda: sorted(delivered(bridge)) == ids)
            for later in ("later-1", "later-2", "later-3"):
                await harness.record([later])
                await until(lambda later=later: later in delivered(bridge))  # type: ignore[misc]  # a bound value
            assert await attempts(harness, "poison") > 0
            bridge.fault = None
            await until(lambda: "poison" in delivered(bridge))
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await harness.delivery.drain()
    assert len(delivered(bridge)) == 13


async def bus_states(health: Health, seen: list[ComponentStatus]) -> None:
    """Append each status of the bus that differs from the one before."""
    changed = health.subscribe()
    while True:
        await changed.wait()
        changed.clear()
        status = health.components["bus"]
        if not seen or status != seen[-1]:
            seen.append(status)


@pytest.mark.parametrize("cause", CONTENT_FAULTS)
async def test_unsendable_entry_is_named_and_stops_no_request(tmp_path: Path, cause: str) -> None:
    """The bus keeps one state until the entry is accepted: each change is a health event, which may wake a person."""
    seen: list[ComponentStatus] = []
    with ContentFilter() as bridge:
        bridge.fault = CONTENT_FAULTS[cause]
        async with delivery_harness(bridge, tmp_path) as harness:
            await harness.record(["poison", "e-1"])
            running = asyncio.create_task(harness.delivery.run())
            await until(lambda: "e-1" in delivered(bridge))
            await until(lambda: "fails at" in harness.health.components["bus"].reason)
            watching = asyncio.create_task(bus_states(harness.health, seen))
            for number in range(5):
                before = bridge.failed_requests
                await until(lambda: bridge.failed_requests > before)  # noqa: B023  # awaited at once
                assert harness.delivery.next_attempt() is None
                await harness.record([f"later-{number}"])
                await until(lambda: len(delivered(bridge)) == number + 2)  # noqa: B023  # awaited at once
            status = harness.health.components["bus"]
            assert (status.state, seen) == (State.DEGRADED, [])
            assert "fails at the event of execution poison: " in status.reason
            bridge.fault = None
            await until(lambda: "poison" in delivered(bridge))
            await until(lambda: harness.health.components["bus"].state is State.HEALTHY)
            for task in (running, watching):
                task.cancel()
            await asyncio.gather(running, watching, return_exceptions=True)
            await harness.delivery.drain()
