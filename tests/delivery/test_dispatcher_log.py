"""The log of delivery: one line a second for accepted events, and a reason for what is uncertain or abandoned."""

import asyncio
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.delivery.harness import delivered, delivery_harness
from tests.fakes import bus_faults
from tests.fakes.eventbridge import StrictEventBridge, operation_of
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("either_client")


async def test_single_events_are_logged_at_most_once_a_second(bridge: StrictEventBridge, tmp_path: Path) -> None:
    """The loop is idle after each of them. The drain logs the rest."""
    async with delivery_harness(bridge, tmp_path) as harness:
        start = harness.clock.monotonic()
        with capture_logs() as lines:
            delivery = asyncio.create_task(harness.delivery.run())
            for number in range(20):
                await harness.record([f"e-{number}"])
                harness.delivery.wake()
                await until(lambda: len(delivered(bridge)) == number + 1)  # noqa: B023  # it is awaited in the same turn
            delivery.cancel()
            await asyncio.gather(delivery, return_exceptions=True)
            await harness.delivery.drain()
        sent = [line["entries"] for line in lines if line["event"] == "events sent"]
        assert sum(sent) == 20
        assert len(sent) <= 2 + harness.clock.monotonic() - start


async def test_cancelled_drain_names_the_abandoned_requests(bridge: StrictEventBridge, tmp_path: Path) -> None:
    released = threading.Event()
    held = bus_faults.hold(released, delivered=True)
    bridge.always(lambda request: held if operation_of(request) == "PutEvents" else None)
    async with delivery_harness(bridge, tmp_path, timeout="20s") as harness:
        await harness.record(["a"])
        delivery = asyncio.create_task(harness.delivery.run())
        await until(lambda: delivered(bridge))
        delivery.cancel()
        await asyncio.gather(delivery, return_exceptions=True)
        with capture_logs() as lines:
            drain = asyncio.create_task(harness.delivery.drain())
            await asyncio.sleep(0)
            drain.cancel()
            await asyncio.gather(drain, return_exceptions=True)
        released.set()
    line = next(line for line in lines if line["event"] == "requests abandoned")
    assert (line["requests"], "run.shutdown_grace" in line["reason"], "sent again" in line["hint"]) == (1, True, True)


async def test_unknown_outcome_is_logged_as_possible_duplicate(bridge: StrictEventBridge, tmp_path: Path) -> None:
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("abc")
        bridge.next(bus_faults.reset_after(delivered=True))
        with capture_logs() as lines:
            counters = await harness.send()
    assert (counters.sent, sorted(delivered(bridge))) == (3, sorted("abcabc"))
    (line,) = [line for line in lines if line["event"] == "possible duplicate"]
    assert (line["log_level"], line["entries"]) == ("warning", 3)
    assert line["reason"]
