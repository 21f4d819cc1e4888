"""Whoever answers with a redirect sends nobody anywhere: no event, no token and no question goes to another place."""

from collections.abc import Iterator

import pytest

from forwarder.errors import DestinationError
from tests.aws.doors import a_bus, delivered, events
from tests.fakes.actions import Answer
from tests.fakes.bus_faults import Fault
from tests.fakes.eventbridge import StrictEventBridge
from tests.loops import looped

pytestmark = pytest.mark.usefixtures("either_client")

ROLE = "arn:aws:iam::123456789012:role/publisher"
STATUSES = [301, 302, 303, 307, 308]


@pytest.fixture
def bridge() -> Iterator[StrictEventBridge]:
    with StrictEventBridge() as bridge:
        yield bridge


@pytest.fixture
def elsewhere() -> Iterator[StrictEventBridge]:
    """It knows the keys and the bus, and would take all."""
    with StrictEventBridge() as bridge:
        bridge.roles[ROLE] = None
        yield bridge


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("operation", ["PutEvents", "DescribeEventBus", "STS"])
@looped
async def test_a_redirect_is_not_followed(
    bridge: StrictEventBridge, elsewhere: StrictEventBridge, operation: str, status: int
) -> None:
    bridge.roles[ROLE] = None
    away = Fault("away", delivered=False, spoil=lambda _: Answer(status, {"Location": f"{elsewhere.url}/"}))
    bridge.next(away, operation=operation)
    async with a_bus(bridge, role_arn=ROLE) as bus:
        with pytest.raises(DestinationError) as raised:
            await bus.put(events())
        assert raised.value.hint
        assert elsewhere.served == []
        assert delivered(bridge) == ""
        await bus.put(events("c"))
    assert delivered(bridge) == "c"
