"""A test event. PutEvents has no dry run, so only an accepted event proves that events can be published."""

import secrets
from typing import assert_never

import msgspec

from forwarder import __version__
from forwarder.aws.credentials import Identity
from forwarder.aws.eventbridge import Event, EventBridgeBus
from forwarder.aws.responses import RequestRefusal
from forwarder.clock import Clock
from forwarder.delivery.bus_check import VerifiedBus
from forwarder.errors import DestinationUnavailable, EventsRefused
from forwarder.model import Accepted, Rejected, Retry, Unknown
from forwarder.time_format import rfc3339

DETAIL_TYPE = "Forwarder Test"
"""The detail type of test events. Rules for failed executions do not match it."""


def new_canary_id() -> str:
    """Return an id that distinguishes a test event from all others."""
    return secrets.token_hex(8)


async def send_canary(identity: Identity, source: str, clock: Clock, canary_id: str) -> str:
    """Publish a test event with this id, and return its EventId. Raise DestinationError if it is not accepted."""
    now = clock.now()
    detail = {
        "version": "1",
        "test": True,
        "canaryId": canary_id,
        "sentAt": rfc3339(now),
        "forwarder": {"version": __version__},
    }
    async with EventBridgeBus(identity, clock) as bus:
        verified_bus = VerifiedBus(bus, clock, verify=identity.destination.verify)
        result = await verified_bus.publish([Event(source, DETAIL_TYPE, now, msgspec.json.encode(detail))])
    if isinstance(result, RequestRefusal):
        raise result.to_error()
    if result.stop_error is not None:
        raise result.stop_error
    (outcome,) = result.outcomes
    match outcome:
        case Accepted(event_id):
            return event_id
        case Rejected(code, reason) | Retry(code, reason):
            raise EventsRefused(_refusal_message(code, reason), code=code)
        case Unknown(reason):
            raise DestinationUnavailable(f"the outcome is unknown: {reason}", code="unknown")
        case _:
            assert_never(outcome)


def _refusal_message(code: str, reason: str) -> str:
    return f"the bus refuses the test event with {code}" + (f": {reason}" if reason else "")
