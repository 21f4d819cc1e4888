"""PutEvents to a bus that does not exist looks like success: whether it exists is asked before, and again."""

from collections.abc import Iterator

import pytest

from forwarder.errors import BusMissing, DestinationError, DestinationRefused, DestinationUnavailable
from tests.aws.doors import a_bus, delivered, events, raised_by, served
from tests.clocks import QuickClock
from tests.fakes import bus_faults
from tests.fakes.bus_faults import Fault
from tests.fakes.eventbridge import StrictEventBridge
from tests.loops import looped

pytestmark = pytest.mark.usefixtures("either_client")


@pytest.fixture
def bridge() -> Iterator[StrictEventBridge]:
    with StrictEventBridge() as bridge:
        yield bridge


@looped
async def test_a_missing_bus_is_noticed_before_it_swallows_anything(bridge: StrictEventBridge) -> None:
    async with a_bus(bridge, event_bus="nowhere") as bus:
        assert (await raised_by(BusMissing, lambda: bus.put(events()))).hint
        assert (bridge.dropped, served(bridge)) == ([], ["DescribeEventBus"])
        bridge.buses.add("nowhere")
        await bus.put(events("c"))
    assert delivered(bridge) == "c"


@looped
async def test_whether_the_bus_exists_is_asked_again_from_time_to_time(bridge: StrictEventBridge) -> None:
    clock = QuickClock()
    async with a_bus(bridge, clock=clock) as bus:
        for each in "abc":
            await bus.put(events(each))
        assert served(bridge).count("DescribeEventBus") == 1
        clock.advance(61)
        bridge.buses.clear()
        await raised_by(BusMissing, lambda: bus.put(events("d")))
    assert (delivered(bridge), bridge.dropped) == ("abc", [])


@looped
async def test_who_may_not_look_publishes_all_the_same_and_looks_no_more(bridge: StrictEventBridge) -> None:
    bridge.denied.add("DescribeEventBus")
    async with a_bus(bridge) as bus:
        for each in "ab":
            await bus.put(events(each))
    assert (delivered(bridge), served(bridge)) == ("ab", ["DescribeEventBus", "PutEvents", "PutEvents"])


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (bus_faults.throttled(), DestinationUnavailable),
        (bus_faults.html(502, delivered=False), DestinationUnavailable),
        (bus_faults.reset_after(delivered=False), DestinationUnavailable),
        (bus_faults.refused(400, "ExpiredTokenException"), DestinationRefused),
    ],
    ids=str,
)
@looped
async def test_a_look_that_fails_publishes_nothing(
    bridge: StrictEventBridge, fault: Fault, kind: type[DestinationError]
) -> None:
    bridge.next(fault, operation="DescribeEventBus")
    async with a_bus(bridge) as bus:
        await raised_by(kind, lambda: bus.put(events()))
        assert delivered(bridge) == ""
        await bus.put(events("c"))
    assert delivered(bridge) == "c"
