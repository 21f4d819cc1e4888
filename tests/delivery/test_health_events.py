"""Health events report each changed state, are limited, contain no secret, and survive an outage of the bus."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import jsonschema
import pytest
from structlog.testing import capture_logs

from forwarder.delivery.health_events import MAX_BURST, MIN_INTERVAL_SECONDS, HealthEvents, HealthTarget
from forwarder.errors import VaultError
from forwarder.event.health_event import DETAIL_TYPE, MAX_TEXT_CHARACTERS, health_schema
from forwarder.health import Health
from forwarder.model import State
from tests.aws.harness import identity, stored_keys
from tests.factories import some_settings
from tests.fakes.bus_faults import access_denied, entry_codes, hang, unavailable
from tests.fakes.eventbridge import StrictEventBridge
from tests.virtual_clock import QuickClock
from tests.waiting import until


class HealthEventsHarness:
    """The sender of health events, connected to a strict fake of EventBridge. `enabled` is the switch."""

    def __init__(self, bus: StrictEventBridge) -> None:
        self.bus = bus
        self.clock = QuickClock()
        self.health = Health(self.clock.now)
        self.enabled = True
        self.problem: VaultError | None = None
        event = some_settings(event={"health": True}).event
        self.target: HealthTarget | None = HealthTarget(identity(bus).destination, stored_keys(), event)
        self.events = HealthEvents(self.health, self._find_target, lambda: self.enabled, self.clock, "host-1")

    async def _find_target(self) -> HealthTarget | None:
        if self.problem is not None:
            raise self.problem
        return self.target

    def details(self, component: str) -> list[Any]:
        return [event.detail for event in list(self.bus.delivered) if event.detail["component"] == component]

    def states(self, component: str) -> list[str]:
        return [detail["state"] for detail in self.details(component)]

    def requests(self) -> int:
        return [each.operation for each in list(self.bus.served)].count("PutEvents")


@asynccontextmanager
async def running_events() -> AsyncIterator[HealthEventsHarness]:
    with StrictEventBridge() as bus:
        harness = HealthEventsHarness(bus)
        running = asyncio.create_task(harness.events.run())
        try:
            yield harness
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_failure_and_recovery_are_one_event_each() -> None:
    async with running_events() as harness:
        harness.health.report("source", State.STARTING)
        harness.health.healthy("source")
        await until(lambda: harness.states("source") == ["HEALTHY"])
        harness.health.report("source", State.FAILED, "the key is refused", "set another key")
        await until(lambda: harness.states("source") == ["HEALTHY", "FAILED"])
        harness.health.healthy("source")
        await until(lambda: harness.states("source") == ["HEALTHY", "FAILED", "HEALTHY"])
        failed = harness.details("source")[1]
        assert (failed["previousState"], failed["reason"], failed["hint"]) == (
            "HEALTHY",
            "the key is refused",
            "set another key",
        )
        assert failed["forwarder"]["instance"] == "host-1"
        assert {event.entry["DetailType"] for event in harness.bus.delivered} == {DETAIL_TYPE}
        for event in harness.bus.delivered:
            jsonschema.validate(event.detail, health_schema())
        assert harness.states("forwarder") == ["RUNNING"]


async def test_switch_is_an_event_of_its_own() -> None:
    async with running_events() as harness:
        await until(lambda: harness.states("switch") == ["ENABLED"])
        harness.enabled = False
        harness.health.report("source", State.PAUSED, "switched off")
        await until(lambda: harness.states("switch") == ["ENABLED", "DISABLED"])


async def test_flapping_component_is_limited_to_latest_state() -> None:
    async with running_events() as harness:
        await until(lambda: harness.states("forwarder"))
        began, before = harness.clock.monotonic(), harness.requests()
        for number in range(400):
            harness.health.report("bus", State.HEALTHY if number % 2 else State.FAILED, f"attempt {number}")
            await asyncio.sleep(0.001)
        harness.health.report("bus", State.DEGRADED, "the last state")
        await until(lambda: harness.states("bus")[-1:] == ["DEGRADED"])
        seconds = harness.clock.monotonic() - began
        assert harness.requests() - before <= MAX_BURST + 1 + seconds / MIN_INTERVAL_SECONDS


async def test_event_contains_no_secret_and_is_bounded() -> None:
    secret = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"
    async with running_events() as harness:
        harness.health.report("source", State.FAILED, f"the key {secret} is refused", "long " * 50_000)
        await until(lambda: harness.states("source"))
        (detail,) = harness.details("source")
        assert secret not in str(detail)
        assert "is refused" in detail["reason"]
        assert len(detail["hint"]) == MAX_TEXT_CHARACTERS


@pytest.mark.parametrize("fault", [unavailable, access_denied, lambda: hang(30, delivered=False)])
async def test_bus_that_fails_gets_current_state_later(fault: Any) -> None:
    """A bus that is down gets no history: only the state that is current when it works again."""
    async with running_events() as harness:
        await until(lambda: harness.states("forwarder"))
        with capture_logs() as lines:
            harness.bus.next(*[fault()] * 3)
            before = harness.requests()
            harness.health.report("bus", State.FAILED, "it is down")
            await until(lambda: harness.requests() > before)
            harness.health.report("bus", State.DEGRADED, "it works a little")
            await until(lambda: harness.states("bus") == ["DEGRADED"])
        warnings = [line["event"] for line in lines if line["event"].startswith("health events")]
        assert warnings == ["health events not sent, the current states are sent later"]


async def test_only_refused_entries_are_sent_again() -> None:
    """A retry has the same idempotency key."""
    async with running_events() as harness:
        await until(lambda: harness.states("forwarder"))
        harness.bus.next(entry_codes({0: "ThrottlingException"}))
        harness.health.report("source", State.FAILED)
        harness.health.report("bus", State.FAILED)
        await until(lambda: harness.states("source") and harness.states("bus"))
        assert (harness.states("source"), harness.states("bus")) == (["FAILED"], ["FAILED"])
        keys = {each.detail["forwarder"]["idempotencyKey"] for each in harness.bus.delivered}
        assert len(keys) == len(harness.bus.delivered)


async def test_health_events_can_be_turned_on_later() -> None:
    async with running_events() as harness:
        target, harness.target = harness.target, None
        harness.health.healthy("source")
        for _ in range(50):
            await asyncio.sleep(0)
        assert harness.requests() == 0
        harness.target = target
        harness.health.healthy("settings")
        await until(lambda: harness.states("source") == ["HEALTHY"])


async def test_unreadable_keys_are_logged_once() -> None:
    async with running_events() as harness:
        await until(lambda: harness.states("forwarder"))
        harness.problem = VaultError("the vault cannot be read", hint="chmod 600")
        with capture_logs() as lines:
            harness.health.report("source", State.FAILED)
            end = harness.clock.now() + timedelta(hours=1)
            await until(lambda: harness.clock.now() > end)
        assert [line["reason"] for line in lines if "reason" in line] == ["the vault cannot be read"]
        harness.problem = None
        await until(lambda: harness.states("source") == ["FAILED"])


def test_detail_type_of_failures_must_differ() -> None:
    with pytest.raises(ValueError, match="detail_type is that of health events"):
        some_settings(event={"health": True, "detail_type": DETAIL_TYPE})
