"""A classic event bus of EventBridge. The SDK makes every call except PutEvents, which has a faster client."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from forwarder import heartbeat
from forwarder.aws.credentials import Identity
from forwarder.aws.current_keys import CurrentKeys
from forwarder.aws.put_events import PutEventsClient
from forwarder.aws.request_errors import (
    ACCESS_DENIED_CODES,
    NOT_AWS_HINT,
    VERIFY_OFF,
    error_before_request,
    region_of,
)
from forwarder.aws.responses import (
    RequestRefusal,
    common_refusal,
    entry_outcome,
    is_valid_response,
    put_events_error,
)
from forwarder.aws.sigv4 import FrozenKeys
from forwarder.clock import Clock
from forwarder.errors import BusUnverified, DestinationError, DestinationRefused, DestinationUnavailable
from forwarder.metrics import Metrics
from forwarder.model import Outcome, Unknown

T = TypeVar("T")

ELSEWHERE = "elsewhere"
"""Our code for a bus of another region or account, which cannot be described with the keys in use."""

MAX_TIMEOUTS = 3
"""The time limit of one whole request with its response, in multiples of the configured timeout."""

Entries = Sequence[dict[str, Any]]
PutEvents = Callable[[FrozenKeys, Entries], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of a PutEvents request. `detail` is JSON."""

    source: str
    detail_type: str
    time: datetime
    detail: bytes


@dataclass(frozen=True, slots=True)
class PublishResult:
    """The outcomes of a request, one for each event, in order.

    `stop_error` is set if the bus refuses every other event too.
    """

    outcomes: list[Outcome]
    stop_error: DestinationError | None = None


class NotOwned(Exception):
    """The refusal to send entries that another process may have taken over, for example while keys were awaited."""


class Bus(Protocol):
    """An event bus that may be missing. `EventBridgeBus` is the real one."""

    name: str
    """The bus with its region and its account, `REGION/DIGEST/EVENT_BUS`: a key for the ledger."""

    async def describe(self, name: str) -> None:
        """Check that the bus with this name exists. Return nothing, or raise BusMissing if the bus is missing.

        Raise another DestinationError if the check fails. After DescribeDenied or an error with the code ELSEWHERE,
        the bus cannot be checked with the keys in use.
        """

    async def publish(
        self, events: Sequence[Event], *, is_owned: Callable[[], bool] = lambda: True
    ) -> PublishResult | RequestRefusal:
        """Publish up to 10 events in one request. Raise NotOwned if `is_owned` returns False when it would be sent.

        Return the outcomes in the response to PutEvents. Without a valid response, return Unknown for each event,
        because the bus may have accepted the events. Return RequestRefusal if the bus refuses the whole request. Raise
        DestinationError if the bus accepted no event for a reason that does not concern these events. No entry is
        settled after this error.
        """


class EventBridgeBus:
    """The event bus of the settings. Entering it with `async with` does no I/O."""

    def __init__(self, identity: Identity, clock: Clock, metrics: Metrics | None = None) -> None:
        self._identity = identity
        self._destination = identity.destination
        self._timeout_seconds = MAX_TIMEOUTS * identity.destination.timeout.total_seconds()
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._exit_stack = AsyncExitStack()
        self.name = f"{identity.destination.region}/{identity.digest}/{identity.destination.event_bus}"
        self._endpoint_url = identity.destination.endpoint_url
        self._keys = CurrentKeys(identity, self._timeout_seconds)
        self._client: Any = None
        self._put_events: PutEvents | None = None
        self._connect_lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit_stack.aclose()

    async def publish(
        self, events: Sequence[Event], *, is_owned: Callable[[], bool] = lambda: True
    ) -> PublishResult | RequestRefusal:
        def call(keys: FrozenKeys, put_events: PutEvents) -> Awaitable[PublishResult | RequestRefusal]:
            if not is_owned():  # the keys may have taken a while, and a second request follows renewed keys
                raise NotOwned
            return self._publish(events, keys, put_events)

        return await self._with_current_keys(call)

    async def _publish(
        self, events: Sequence[Event], keys: FrozenKeys, put_events: PutEvents
    ) -> PublishResult | RequestRefusal:
        heartbeat.beat()
        request = put_events(keys, [self._entry(event) for event in events])
        started_at = self._clock.monotonic()
        try:
            # The timeouts of the clients limit the time between two bytes. A slow response needs a limit as a whole.
            async with self._timeout():
                response = await request
        except Exception as error:  # noqa: BLE001  # the table classifies every error of the SDK
            failure = put_events_error(error, self._endpoint_url)
            if isinstance(failure, DestinationError):
                self._invalidate_keys(failure, keys)
                raise failure from None
            return failure if isinstance(failure, RequestRefusal) else PublishResult([failure] * len(events))
        finally:
            self._metrics.observe_put_events(self._clock.monotonic() - started_at)
        if not is_valid_response(response, len(events)):
            return PublishResult([Unknown("the response of the bus cannot be decoded")] * len(events))
        results = response["Entries"]
        stop_error = common_refusal(results)
        self._invalidate_keys(stop_error, keys)
        return PublishResult([entry_outcome(entry) for entry in results], stop_error)

    def _invalidate_keys(self, failure: DestinationError | None, keys: FrozenKeys) -> None:
        """Read refused keys from their source before the next request: another process may have renewed the keys."""
        if isinstance(failure, DestinationRefused):
            self._keys.invalidate(keys)

    async def describe(self, name: str) -> None:
        region, digest, event_bus = name.split("/", 2)
        if (region, digest) != (self._destination.region, self._identity.digest):
            raise DestinationRefused(f"{name} is in another region or account", code=ELSEWHERE)
        await self._with_current_keys(lambda keys, _: self._describe(event_bus, keys))

    async def _describe(self, event_bus: str, keys: FrozenKeys) -> None:
        try:
            async with self._timeout():
                response = await self._client.describe_event_bus(Name=event_bus)
        except Exception as error:  # noqa: BLE001  # as above
            failure = error_before_request(error, "it is unknown whether the bus exists", self._endpoint_url)
            self._invalidate_keys(failure, keys)
            raise self._with_regions(failure, event_bus) from None
        if not (response.get("Name") or response.get("Arn")):  # the SDK returns a page of HTML as an empty response
            raise DestinationUnavailable(
                "it is unknown whether the bus exists: the response cannot be decoded",
                code="not-aws",
                hint=NOT_AWS_HINT,
            )

    def _with_regions(self, error: DestinationError, event_bus: str) -> DestinationError:
        """Return the error. If the ARN of the bus has another region than the settings, the hint names both regions."""
        region, configured = region_of(event_bus), self._destination.region
        if isinstance(error, BusUnverified) and region and region != configured:
            hint = f"event_bus is in the region {region}, but region is {configured}: set region; {VERIFY_OFF}"
            return BusUnverified(error.message, code=error.code, hint=hint)
        return error

    async def _with_current_keys(self, call: Callable[[FrozenKeys, PutEvents], Awaitable[T]]) -> T:
        """Call with the current keys, and again if AWS does not know them and their source has other keys by now.

        Another process may have renewed the keys in a file when the old ones ended, which is no outage.
        """
        keys, put_events = await self._prepare()
        try:
            return await call(keys, put_events)
        except DestinationRefused as refusal:
            if refusal.code in ACCESS_DENIED_CODES:
                raise
            renewed, put_events = await self._prepare()
            if renewed == keys:
                raise
            return await call(renewed, put_events)

    async def _prepare(self) -> tuple[FrozenKeys, PutEvents]:
        """Return the current keys and the function that sends PutEvents.

        Raise DestinationError if there are no keys or no client. No event has been sent in this case.
        """
        keys = await self._keys.find()
        try:
            async with self._timeout(), self._connect_lock:
                # The client is made after the keys are found: a client that is made without keys never gets any.
                if self._put_events is None:
                    self._put_events = await self._create_clients()
        except Exception as error:  # noqa: BLE001  # as above, and every setting of the SDK can be invalid
            raise error_before_request(error, "the AWS client cannot be made", self._endpoint_url) from None
        return keys, self._put_events

    def _timeout(self) -> asyncio.Timeout:
        return asyncio.timeout(self._timeout_seconds)

    async def _create_clients(self) -> PutEvents:
        """Make the SDK's client, and PutEventsClient unless `destination.client` is "sdk"."""
        destination = self._destination
        session = self._keys.client_session()
        if self._client is None:
            self._client = await self._exit_stack.enter_async_context(
                session.create_client("events", **self._identity.client_options("events"))
            )
        client = self._client
        self._endpoint_url = destination.endpoint_url or await _endpoint_of(client)
        if destination.client == "sdk":
            return lambda _, entries: client.put_events(
                Entries=[{**entry, "Detail": entry["Detail"].decode()} for entry in entries]
            )
        direct = PutEventsClient(
            self._endpoint_url,
            destination.region,
            seconds=destination.timeout.total_seconds(),
            connections=destination.concurrency,
            bundle=session.get_config_variable("ca_bundle") or "",
        )
        return (await self._exit_stack.enter_async_context(direct)).put_events

    def _entry(self, event: Event) -> dict[str, Any]:
        return {
            "Time": int(event.time.timestamp()),
            "Source": event.source,
            "DetailType": event.detail_type,
            "Detail": event.detail,
            "EventBusName": self._destination.event_bus,
        }


async def _endpoint_of(client: Any) -> str:
    """Return the address to which the SDK sends PutEvents.

    `meta.endpoint_url` follows older rules, which name another host for FIPS with dual stack in GovCloud. There, many
    hosts with `-fips` in their names do not exist: https://github.com/aws/aws-sdk/issues/268.
    """
    url: str = await client.generate_presigned_url("put_events", Params={"Entries": [{}]})
    return url.partition("?")[0]
