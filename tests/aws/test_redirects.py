"""A redirect is never followed: no event, no token and no request goes to another address."""

from collections.abc import Iterator

import pytest

from forwarder.errors import DestinationError
from tests.aws.harness import delivered, events, open_bus
from tests.fakes.actions import HttpResponse
from tests.fakes.bus_faults import Fault
from tests.fakes.eventbridge import StrictEventBridge

pytestmark = pytest.mark.usefixtures("either_client")

ROLE = "arn:aws:iam::123456789012:role/publisher"
STATUSES = [301, 302, 303, 307, 308]


@pytest.fixture
def elsewhere() -> Iterator[StrictEventBridge]:
    """Run a second bus that would accept every request."""
    with StrictEventBridge() as bridge:
        bridge.roles[ROLE] = None
        yield bridge


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("operation", ["PutEvents", "DescribeEventBus", "STS"])
async def test_redirect_is_not_followed(
    bridge: StrictEventBridge, elsewhere: StrictEventBridge, operation: str, status: int
) -> None:
    bridge.roles[ROLE] = None
    away = Fault("away", delivered=False, spoil=lambda _: HttpResponse(status, {"Location": f"{elsewhere.url}/"}))
    bridge.next(away, operation=operation)
    async with open_bus(bridge, role_arn=ROLE) as bus:
        with pytest.raises(DestinationError) as raised:
            await bus.publish(events())
        assert raised.value.hint
        assert elsewhere.served == []
        assert delivered(bridge) == ""
        await bus.publish(events("c"))
    assert delivered(bridge) == "c"
