"""The checks of AWS: the identity, the event bus, and a test event. They use the clients of the daemon."""

from collections.abc import AsyncIterator

from forwarder.aws.credential_chain import KeySession, load_keys
from forwarder.aws.credential_sources import configured_address
from forwarder.aws.credentials import Identity
from forwarder.aws.eventbridge import EventBridgeBus
from forwarder.aws.request_errors import VERIFY_OFF
from forwarder.clock import Clock
from forwarder.delivery.canary import DETAIL_TYPE, send_canary
from forwarder.diagnostics.results import CheckResult, run_check
from forwarder.errors import (
    DescribeDenied,
    DestinationError,
    DestinationRefused,
    DestinationUnavailable,
    ForwarderError,
)

IDENTITY, EVENT_BUS, PUBLISHING = "AWS identity", "event bus", "publishing"
"""The names of the checks."""

NO_CREDENTIALS = "not checked: it needs AWS credentials, which the step before this one did not find"
"""The message about the event bus if the check of the identity found no credentials."""


async def check_destination(identity: Identity, clock: Clock) -> AsyncIterator[CheckResult]:
    """Yield the checks of the credentials and of the bus. Nothing is published."""
    session = identity.session()
    keys = await run_check(IDENTITY, lambda: _find_credentials(session))
    if keys.error is not None:
        yield keys
        yield CheckResult(EVENT_BUS, error=_missing_credentials(keys.error))
        return
    yield await run_check(IDENTITY, lambda: identity.caller(session))
    yield await run_check(EVENT_BUS, lambda: _check_event_bus(identity, session, clock))


async def check_publishing(identity: Identity, source: str, clock: Clock) -> CheckResult:
    """Publish a test event, and return whether the bus accepted it."""

    async def publish() -> str:
        event_id = await send_canary(identity, source, clock)
        return f"accepted with the EventId `{event_id}` and the detail-type `{DETAIL_TYPE}`"

    return await run_check(PUBLISHING, publish)


async def _find_credentials(session: KeySession) -> str:
    await load_keys(session)
    return ""


def _missing_credentials(error: ForwarderError) -> ForwarderError:
    if isinstance(error, DestinationUnavailable):
        return DestinationUnavailable(NO_CREDENTIALS, code=error.code)
    if isinstance(error, DestinationError):
        return DestinationRefused(NO_CREDENTIALS, code="credentials")
    return ForwarderError(NO_CREDENTIALS)


async def _check_event_bus(identity: Identity, session: KeySession, clock: Clock) -> str:
    destination = identity.destination
    if not destination.verify:
        return f"{destination.event_bus} in {destination.region}, not verified: destination.verify is false"
    try:
        async with EventBridgeBus(identity, clock) as bus:
            await bus.describe(bus.name)
    except DescribeDenied as error:
        reason = f"it is unknown whether it exists: {error.code} for events:DescribeEventBus"
        raise DescribeDenied(reason, code=error.code, hint=f"{error.hint}; {VERIFY_OFF}") from None
    endpoint = "" if destination.endpoint_url else configured_address(session, "EVENTBRIDGE")
    return f"{destination.event_bus} exists in {destination.region}{f', at {endpoint}' if endpoint else ''}"
