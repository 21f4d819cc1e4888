"""A missing bus accepts all events and drops them. The forwarder detects this and sends them again."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from forwarder.errors import BusMissing
from forwarder.health import NextAttempt
from forwarder.model import State
from tests.delivery.harness import DeliveryHarness, delivered, delivery_harness
from tests.fakes import bus_faults
from tests.fakes.eventbridge import BUS, StrictEventBridge, operation_of
from tests.fakes.wire import Request
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("either_client")


async def send_one_and_record_one_before_bus_is_deleted(harness: DeliveryHarness, bridge: StrictEventBridge) -> None:
    """Send `a` and record `b`. The bus is deleted after it was verified, and before it gets `b`."""

    def rule(request: Request) -> None:
        if operation_of(request) == "PutEvents":
            bridge.buses.discard(BUS)

    await harness.record("a")
    await harness.send()
    bridge.always(rule)
    await harness.record("b")


async def test_events_of_missing_bus_are_requeued_while_idle(bridge: StrictEventBridge, tmp_path: Path) -> None:
    async with delivery_harness(bridge, tmp_path) as harness:
        await send_one_and_record_one_before_bus_is_deleted(harness, bridge)
        running = asyncio.create_task(harness.delivery.run())
        await until(lambda: bridge.dropped)
        await until(lambda: isinstance(harness.delivery.current_error, BusMissing))
        bridge.clear()
        bridge.buses.add(BUS)
        await until(lambda: len(bridge.delivered) == 2)
        running.cancel()
        await asyncio.wait({running})
    assert delivered(bridge) == ["a", "b"]


async def test_requeue_of_missing_bus_is_logged(bridge: StrictEventBridge, tmp_path: Path) -> None:
    async with delivery_harness(bridge, tmp_path) as harness:
        await send_one_and_record_one_before_bus_is_deleted(harness, bridge)
        with capture_logs() as lines:
            await harness.send()
        logged = [line for line in lines if line["event"] == "events of missing bus requeued"]
        assert [(line["log_level"], line["entries"]) for line in logged] == [("warning", 1)]
        assert BUS in logged[0]["bus"]


async def test_delivery_to_missing_bus_logs_its_pause(bridge: StrictEventBridge, tmp_path: Path) -> None:
    bridge.buses.discard(BUS)
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("a")
        with capture_logs() as lines:
            running = asyncio.create_task(harness.delivery.run())
            await until(lambda: any(line["event"] == "delivery backing off" for line in lines))
            running.cancel()
            await asyncio.wait({running})
    assert isinstance(harness.delivery.current_error, BusMissing)
    (line, *_) = [line for line in lines if line["event"] == "delivery backing off"]
    assert (line["log_level"], line["code"]) == ("warning", harness.delivery.current_error.code)
    assert line["reason"] == harness.delivery.current_error.message
    assert 0 < line["retry_in"] <= 2


async def test_events_of_missing_bus_are_requeued_at_the_end(bridge: StrictEventBridge, tmp_path: Path) -> None:
    async with delivery_harness(bridge, tmp_path) as harness:
        await send_one_and_record_one_before_bus_is_deleted(harness, bridge)
        counters = await harness.send()
        assert (counters.sent, counters.pending) == (1, 1)
        assert isinstance(harness.delivery.current_error, BusMissing)
        assert len(bridge.dropped) == 1


async def test_bus_deleted_long_after_use_causes_no_duplicate(bridge: StrictEventBridge, tmp_path: Path) -> None:
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("a")
        await harness.send()
        bridge.buses.remove(BUS)
        harness.clock.advance(3600)
        await harness.record("b")
        counters = await harness.send()
        assert (counters.sent, counters.pending) == (1, 1)
        bridge.buses.add(BUS)
        await harness.send()
    assert delivered(bridge) == ["a", "b"]


async def test_events_sent_while_the_check_fails_are_not_lost(bridge: StrictEventBridge, tmp_path: Path) -> None:
    """Publishing continues while the bus cannot be checked. It turns out to be missing afterwards."""
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("a")
        await harness.send()
        harness.clock.advance(3600)
        bridge.next(bus_faults.throttled(), bus_faults.throttled(), operation="DescribeEventBus")
        bridge.always(lambda request: bridge.buses.discard(BUS) if operation_of(request) == "PutEvents" else None)
        await harness.record("b")
        counters = await harness.send()
        assert (counters.sent, counters.pending, len(bridge.dropped)) == (1, 1, 1)
        bridge.clear()
        bridge.buses.add(BUS)
        await harness.send()
    assert delivered(bridge) == ["a", "b"]


async def test_failed_bus_check_is_repeated(bridge: StrictEventBridge, tmp_path: Path) -> None:
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("a")
        await harness.delivery.run(until_empty=True)
        bridge.next(bus_faults.throttled(), bus_faults.throttled(), operation="DescribeEventBus")
        checks = [served.operation for served in bridge.served].count("DescribeEventBus")
        running = asyncio.create_task(harness.delivery.run())
        await until(lambda: [served.operation for served in bridge.served].count("DescribeEventBus") == checks + 3)
        running.cancel()
        await asyncio.wait({running})
        assert delivered(bridge) == ["a"]


async def test_events_of_previous_missing_bus_are_requeued(bridge: StrictEventBridge, tmp_path: Path) -> None:
    bridge.buses.add("another")
    async with delivery_harness(bridge, tmp_path) as killed:
        await send_one_and_record_one_before_bus_is_deleted(killed, bridge)
        await killed.delivery.run(until_empty=True)  # without the check at the end
    bridge.clear()
    async with delivery_harness(bridge, tmp_path, event_bus="another") as harness:
        counters = await harness.send()
    assert (counters.sent, counters.pending) == (2, 0)
    assert delivered(bridge) == ["a", "b"]


async def test_verified_bus_deleted_later_causes_no_duplicate(bridge: StrictEventBridge, tmp_path: Path) -> None:
    bridge.buses.add("another")
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("a")
        await harness.send()
    async with delivery_harness(bridge, tmp_path, event_bus="another") as harness:
        await harness.record("b")
        await harness.send()
    bridge.buses.remove(BUS)
    async with delivery_harness(bridge, tmp_path, event_bus="another") as harness:
        await harness.record("c")
        await harness.send()
    assert delivered(bridge) == ["a", "b", "c"]


async def test_retry_now_verifies_the_bus_if_nothing_is_pending(bridge: StrictEventBridge, tmp_path: Path) -> None:
    """A bus that was missing at the start would stay FAILED until the next event."""
    bridge.buses.discard(BUS)
    async with delivery_harness(bridge, tmp_path) as harness:
        running = asyncio.create_task(harness.delivery.run())
        await until(lambda: harness.delivery.next_attempt() == NextAttempt(None))
        assert harness.health.components["bus"].state is State.FAILED
        bridge.buses.add(BUS)
        harness.delivery.retry_now()
        await until(lambda: harness.health.components["bus"].state is State.HEALTHY)
        assert harness.delivery.next_attempt() is None
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
