"""A missing bus accepts and drops events, so the bus is verified before the first request and every minute."""

import pytest

from forwarder.delivery.canary import send_canary
from forwarder.errors import BusMissing, DestinationError, DestinationRefused, DestinationUnavailable
from tests.aws.harness import delivered, events, identity, open_bus, raised_by, served
from tests.fakes import bus_faults
from tests.fakes.bus_faults import Fault
from tests.fakes.eventbridge import StrictEventBridge, operation_of
from tests.virtual_clock import QuickClock

pytestmark = pytest.mark.usefixtures("either_client")


async def test_missing_bus_is_detected_before_publishing(bridge: StrictEventBridge) -> None:
    async with open_bus(bridge, event_bus="nowhere") as bus:
        assert (await raised_by(BusMissing, lambda: bus.publish(events()))).hint
        assert (bridge.dropped, served(bridge)) == ([], ["DescribeEventBus"])
        bridge.buses.add("nowhere")
        await bus.publish(events("c"))
    assert delivered(bridge) == "c"


async def test_test_event_to_missing_bus_is_refused(bridge: StrictEventBridge) -> None:
    aws_identity = identity(bridge, event_bus="nowhere")
    await raised_by(BusMissing, lambda: send_canary(aws_identity, "alloy.embedded", QuickClock(), "c-1"))
    assert (bridge.dropped, served(bridge)) == ([], ["DescribeEventBus"])


async def test_bus_is_verified_again_after_the_interval(bridge: StrictEventBridge) -> None:
    clock = QuickClock()
    async with open_bus(bridge, clock=clock) as bus:
        for each in "abc":
            await bus.publish(events(each))
        assert served(bridge).count("DescribeEventBus") == 1
        clock.advance(61)
        bridge.buses.clear()
        await raised_by(BusMissing, lambda: bus.publish(events("d")))
    assert (delivered(bridge), bridge.dropped) == ("abc", [])


async def test_denied_verification_publishes_and_is_not_repeated(bridge: StrictEventBridge) -> None:
    bridge.denied.add("DescribeEventBus")
    async with open_bus(bridge) as bus:
        for each in "ab":
            await bus.publish(events(each))
    assert (delivered(bridge), served(bridge)) == ("ab", ["DescribeEventBus", "PutEvents", "PutEvents"])


@pytest.mark.parametrize(
    ("fault", "exc_type"),
    [
        (bus_faults.throttled(), DestinationUnavailable),
        (bus_faults.html(502, delivered=False), DestinationUnavailable),
        (bus_faults.reset_after(delivered=False), DestinationUnavailable),
        (bus_faults.refused(400, "ExpiredTokenException"), DestinationRefused),
    ],
    ids=str,
)
async def test_failed_verification_publishes_nothing(
    bridge: StrictEventBridge, fault: Fault, exc_type: type[DestinationError]
) -> None:
    bridge.next(fault, operation="DescribeEventBus")
    async with open_bus(bridge) as bus:
        await raised_by(exc_type, lambda: bus.publish(events()))
        assert delivered(bridge) == ""
        await bus.publish(events("c"))
    assert delivered(bridge) == "c"


@pytest.mark.parametrize("fault", [bus_faults.throttled(), bus_faults.reset_after(delivered=False)], ids=str)
async def test_failed_later_verification_does_not_stop_publishing(bridge: StrictEventBridge, fault: Fault) -> None:
    """The control plane of a region can be throttled or down while events are accepted."""
    clock = QuickClock()
    async with open_bus(bridge, clock=clock) as bus:
        await bus.publish(events("a"))
        bridge.always(lambda request: fault if operation_of(request) == "DescribeEventBus" else None)
        for each in "bc":
            clock.advance(61)
            await bus.publish(events(each))
    assert delivered(bridge) == "abc"
    assert served(bridge).count("DescribeEventBus") == 3


async def test_bus_is_verified_after_a_failed_request(bridge: StrictEventBridge) -> None:
    clock = QuickClock()
    async with open_bus(bridge, clock=clock) as bus:
        await bus.publish(events("a"))
        bridge.always(lambda _: bus_faults.internal_failure())
        for _ in range(3):
            await raised_by(DestinationUnavailable, lambda: bus.publish(events("b")))
    assert (delivered(bridge), served(bridge).count("PutEvents")) == ("a", 2)
