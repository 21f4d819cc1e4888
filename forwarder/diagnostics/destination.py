"""The checks of AWS: the identity, the event bus, and a test event. They use the clients of the daemon."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import msgspec

from forwarder.aws.canary_queue import CanaryQueue
from forwarder.aws.credential_chain import KeySession, load_keys
from forwarder.aws.credential_sources import configured_address
from forwarder.aws.credentials import Identity
from forwarder.aws.eventbridge import EventBridgeBus
from forwarder.aws.payload_bucket import PayloadBucket
from forwarder.aws.request_errors import VERIFY_OFF
from forwarder.clock import Clock
from forwarder.delivery.canary import DETAIL_TYPE, new_canary_id, send_canary
from forwarder.diagnostics.results import CheckResult, run_check
from forwarder.errors import (
    DescribeDenied,
    DestinationError,
    DestinationRefused,
    DestinationUnavailable,
    EventNotArrived,
    ForwarderError,
)
from forwarder.settings.sections import EventSettings

IDENTITY, EVENT_BUS, PUBLISHING, ARRIVAL = "AWS identity", "event bus", "publishing", "arrival"
PAYLOADS = "payload bucket"
"""The names of the checks."""

ARRIVAL_SECONDS = 30.0
"""The time within which a test event should arrive. EventBridge usually needs less than a second."""

NO_CREDENTIALS = "not checked: it needs AWS credentials, which the step before this one did not find"
"""The message about the event bus if the check of the identity found no credentials."""


NOT_ARRIVED_HINT = (
    "check that the rule matches the source and detail-type, that it is enabled, and that the policies of the queue and"
    " of its KMS key allow events.amazonaws.com; the rule's dead-letter queue names the cause"
)


async def check_destination(identity: Identity, clock: Clock) -> AsyncIterator[CheckResult]:
    """Yield the checks of the credentials and of the bus. Nothing is published.

    Only the check of the identity requests STS with the keys. A private network may have an endpoint of EventBridge and
    none of STS, so the check of the bus decides whether the keys are valid if STS cannot be reached.
    """
    session = identity.session()
    keys = await run_check(IDENTITY, lambda: _find_credentials(session))
    if keys.error is not None:
        yield keys
        yield CheckResult(EVENT_BUS, error=_missing_credentials(keys.error))
        return
    caller = await run_check(IDENTITY, lambda: identity.caller(session))
    if isinstance(caller.error, DestinationUnavailable) and identity.destination.verify:
        caller = CheckResult(
            IDENTITY, f"not confirmed, which publishing does not need: {caller.error.message}", skipped=True
        )
    yield caller
    yield await run_check(EVENT_BUS, lambda: _check_event_bus(identity, session, clock))


async def check_publishing(identity: Identity, source: str, clock: Clock, canary_id: str = "") -> CheckResult:
    """Publish a test event, and return whether the bus accepted it."""

    async def publish() -> str:
        event_id = await send_canary(identity, source, clock, canary_id or new_canary_id())
        return f"accepted with the EventId `{event_id}` and the detail-type `{DETAIL_TYPE}`"

    return await run_check(PUBLISHING, publish)


async def check_payloads(identity: Identity, event: EventSettings) -> CheckResult:
    """Store a small object under the prefix. No other right than that of the daemon is needed."""

    async def store() -> str:
        key = f"{event.s3_prefix}check/{new_canary_id()}.json"
        async with PayloadBucket(identity, event.s3_bucket) as bucket:
            await bucket.put(key, msgspec.json.encode({"test": True}))
        return f"{event.s3_bucket} accepted the test object {key}"

    return await run_check(PAYLOADS, store)


@dataclass(frozen=True, slots=True)
class Proof:
    """The proof that a test event arrives: the URL of the queue, or an empty string to find it by the bus's name."""

    queue_url: str = ""
    seconds: float = ARRIVAL_SECONDS


async def prove_arrival(identity: Identity, source: str, clock: Clock, proof: Proof) -> AsyncIterator[CheckResult]:
    """Publish a test event, and wait until it arrives in the canary queue. Yield the checks of both steps.

    The message of that event is deleted, and no other. A queue that cannot be found or read does not prevent the
    publishing. The arrival is then skipped with an error, and fails only if the queue can be read.
    """
    canary_id = new_canary_id()
    async with AsyncExitStack() as stack:

        async def find_queue() -> CanaryQueue:
            queue = await stack.enter_async_context(CanaryQueue(identity, clock, proof.queue_url))
            await queue.open()
            return queue

        try:
            found: CanaryQueue | Exception = await find_queue()
        except Exception as error:  # noqa: BLE001  # run_check explains every error
            found = error
        started_at = clock.monotonic()
        published = await check_publishing(identity, source, clock, canary_id)
        yield published
        if published.error is not None:
            yield CheckResult(ARRIVAL, "not tried, because no event was accepted", skipped=True)
            return

        async def wait() -> str:
            if isinstance(found, Exception):
                raise found
            if not await found.wait_for(canary_id, proof.seconds):
                message = (
                    f"the bus accepted the event, but it is not in the queue {found.name} after {proof.seconds:.0f} s"
                )
                raise EventNotArrived(message, code="not-arrived", hint=NOT_ARRIVED_HINT)
            return f"in the queue {found.name} after {clock.monotonic() - started_at:.1f} s"

        yield _as_unproved(await run_check(ARRIVAL, wait))


def _as_unproved(result: CheckResult) -> CheckResult:
    """Return the result as skipped if the queue could not be read: the error is not one of the event or the rule."""
    if not isinstance(result.error, DestinationError) or isinstance(result.error, EventNotArrived):
        return result
    result.error.message = f"not proved, although the bus accepted the event: {result.error.message}"
    return replace(result, skipped=True)


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
