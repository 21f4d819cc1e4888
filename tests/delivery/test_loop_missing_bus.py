"""A bus that is missing accepts all that it is sent and drops it: that is noticed, and sent again."""

import asyncio
from pathlib import Path

import pytest

from forwarder.errors import BusMissing
from tests.delivery.sender import Sender, a_sender, delivered
from tests.fakes import bus_faults
from tests.fakes.eventbridge import BUS, StrictEventBridge, operation_of
from tests.fakes.wire import Request
from tests.loops import looped, until

pytestmark = pytest.mark.usefixtures("either_client")


async def send_one_and_owe_another_to_a_bus_that_vanishes(sender: Sender, bridge: StrictEventBridge) -> None:
    """`a` and `b`. The bus is deleted after it was looked for, and before it gets `b`."""

    def rule(request: Request) -> None:
        if operation_of(request) == "PutEvents":
            bridge.buses.discard(BUS)

    await sender.owe("a")
    await sender.send()
    bridge.always(rule)
    await sender.owe("b")


@looped
async def test_what_a_missing_bus_swallowed_last_is_missed_although_nothing_more_is_sent(
    bridge: StrictEventBridge, tmp_path: Path
) -> None:
    async with a_sender(bridge, tmp_path) as sender:
        await send_one_and_owe_another_to_a_bus_that_vanishes(sender, bridge)
        running = asyncio.create_task(sender.delivery.run())
        await until(lambda: bridge.dropped)
        await until(lambda: isinstance(sender.delivery.trouble, BusMissing))
        bridge.clear()
        bridge.buses.add(BUS)
        await until(lambda: len(bridge.delivered) == 2)
        running.cancel()
        await asyncio.wait({running})
    assert delivered(bridge) == ["a", "b"]


@looped
async def test_what_a_missing_bus_swallowed_is_missed_when_the_loop_ends(
    bridge: StrictEventBridge, tmp_path: Path
) -> None:
    async with a_sender(bridge, tmp_path) as sender:
        await send_one_and_owe_another_to_a_bus_that_vanishes(sender, bridge)
        books = await sender.send()
        assert (books.sent, books.owed) == (1, 1)
        assert isinstance(sender.delivery.trouble, BusMissing)
        assert len(bridge.dropped) == 1


@looped
async def test_a_bus_that_is_deleted_long_after_it_was_last_used_makes_no_duplicate(
    bridge: StrictEventBridge, tmp_path: Path
) -> None:
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe("a")
        await sender.send()
        bridge.buses.remove(BUS)
        sender.clock.advance(3600)
        await sender.owe("b")
        books = await sender.send()
        assert (books.sent, books.owed) == (1, 1)
        bridge.buses.add(BUS)
        await sender.send()
    assert delivered(bridge) == ["a", "b"]


@looped
async def test_who_cannot_ask_whether_the_bus_was_there_asks_again(bridge: StrictEventBridge, tmp_path: Path) -> None:
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe("a")
        await sender.delivery.run(until_empty=True)
        bridge.next(bus_faults.throttled(), bus_faults.throttled(), operation="DescribeEventBus")
        looks = [served.operation for served in bridge.served].count("DescribeEventBus")
        running = asyncio.create_task(sender.delivery.run())
        await until(lambda: [served.operation for served in bridge.served].count("DescribeEventBus") == looks + 3)
        running.cancel()
        await asyncio.wait({running})
        assert delivered(bridge) == ["a"]


@looped
async def test_what_a_bus_swallowed_that_is_no_more_set_is_missed_by_the_next_process(
    bridge: StrictEventBridge, tmp_path: Path
) -> None:
    bridge.buses.add("another")
    async with a_sender(bridge, tmp_path) as dies:
        await send_one_and_owe_another_to_a_bus_that_vanishes(dies, bridge)
        await dies.delivery.run(until_empty=True)  # and nothing more: no last look
    bridge.clear()
    async with a_sender(bridge, tmp_path, event_bus="another") as sender:
        books = await sender.send()
    assert (books.sent, books.owed) == (2, 0)
    assert delivered(bridge) == ["a", "b"]


@looped
async def test_a_bus_that_was_there_to_the_last_and_is_deleted_later_costs_no_duplicate(
    bridge: StrictEventBridge, tmp_path: Path
) -> None:
    bridge.buses.add("another")
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe("a")
        await sender.send()
    async with a_sender(bridge, tmp_path, event_bus="another") as sender:
        await sender.owe("b")
        await sender.send()
    bridge.buses.remove(BUS)
    async with a_sender(bridge, tmp_path, event_bus="another") as sender:
        await sender.owe("c")
        await sender.send()
    assert delivered(bridge) == ["a", "b", "c"]
