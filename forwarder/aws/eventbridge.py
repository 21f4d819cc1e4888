"""The classic event bus, through aiobotocore; and its one call that has to be fast through a client of our own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

import structlog

from forwarder import heartbeat
from forwarder.aws.credentials import Identity, client_config
from forwarder.aws.current_keys import CurrentKeys
from forwarder.aws.put_events import PutEventsClient
from forwarder.aws.request_errors import ALLOW_DESCRIBE, VERIFY_OFF, error_before_request, region_of
from forwarder.aws.responses import (
    RequestRefusal,
    common_refusal,
    entry_outcome,
    is_valid_response,
    put_events_error,
)
from forwarder.aws.sigv4 import FrozenKeys
from forwarder.clock import Clock
from forwarder.errors import BusUnverified, DescribeDenied, DestinationError, DestinationRefused, DestinationUnavailable
from forwarder.metrics import Metrics
from forwarder.model import Outcome, Unknown

log = structlog.get_logger("bus")

VERIFY_INTERVAL_SECONDS = 60.0
"""The time for which the bus counts as verified. PutEvents to a missing bus responds with 200 and drops the events."""

UNVERIFIABLE_CODES = ("elsewhere", "verify-off")
"""Codes of ours for a bus that will never be verified."""

MAX_TIMEOUTS = 3
"""A request is given up after this many of its time-outs, whatever still trickles in."""

Entries = Sequence[dict[str, Any]]
PutEvents = Callable[[FrozenKeys, Entries], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of a request. `detail` is JSON."""

    source: str
    detail_type: str
    time: datetime
    detail: bytes


@dataclass(frozen=True, slots=True)
class PublishResult:
    """One outcome for each event, in order; `stop_error` if the bus refuses every other event as well."""

    outcomes: list[Outcome]
    stop_error: DestinationError | None = None


class Bus(Protocol):
    name: str
    verified_seq: int | None
    """The last settlement before the bus was last verified. It may have dropped later ones."""

    async def verify(self, *, force: bool = False) -> None:
        """Check that the bus exists, unless that was done recently and `force` is not set. Raise DestinationError."""

    async def verify_by_name(self, name: str) -> None:
        """Check that another bus exists, by its `name` here. Raise DestinationError."""

    async def publish(self, events: Sequence[Event]) -> PublishResult | RequestRefusal:
        """Publish up to 10 events in one request.

        Return only what a response to PutEvents says, or Unknown if it may have arrived. Raise DestinationError if
        nothing was accepted, which settles nothing.
        """


class EventBridgeBus:
    """An event bus. `async with` does no I/O. `committed_seq` returns the number of the last settlement."""

    def __init__(
        self,
        identity: Identity,
        clock: Clock,
        metrics: Metrics | None = None,
        committed_seq: Callable[[], int] = lambda: 0,
    ) -> None:
        self._identity = identity
        self._destination = identity.destination
        self._timeout_seconds = MAX_TIMEOUTS * identity.destination.timeout.total_seconds()
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._committed_seq = committed_seq
        self._exit_stack = AsyncExitStack()
        self.name = f"{identity.destination.region}/{identity.digest}/{identity.destination.event_bus}"
        self._endpoint_url = identity.destination.endpoint_url
        self._keys = CurrentKeys(identity, self._timeout_seconds)
        self._client: Any = None
        self._put_events: PutEvents | None = None
        self._connect_lock = asyncio.Lock()
        self._verify_lock = asyncio.Lock()
        self._verified_at: float | None = None
        self.verified_seq: int | None = None
        self._can_verify = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit_stack.aclose()

    async def publish(self, events: Sequence[Event]) -> PublishResult | RequestRefusal:
        await self.verify()
        keys, put_events = await self._prepare()
        heartbeat.beat()
        request = put_events(keys, [self._entry(event) for event in events])
        started_at = self._clock.monotonic()
        try:
            # The clients' time-outs are between two bytes: an answer that trickles would hold the request for ever.
            async with self._timeout():
                response = await request
        except Exception as error:  # noqa: BLE001  # whatever the SDK raises, the table has its meaning
            failure = put_events_error(error, self._endpoint_url)
            if isinstance(failure, DestinationError):
                self._verified_at = None
                self._invalidate_keys(failure, keys)
                raise failure from None
            return failure if isinstance(failure, RequestRefusal) else PublishResult([failure] * len(events))
        finally:
            self._metrics.observe_put_events(self._clock.monotonic() - started_at)
        if not is_valid_response(response, len(events)):
            return PublishResult([Unknown("the answer of the bus cannot be understood")] * len(events))
        results = response["Entries"]
        stop_error = common_refusal(results)
        self._invalidate_keys(stop_error, keys)
        return PublishResult([entry_outcome(entry) for entry in results], stop_error)

    def _invalidate_keys(self, failure: DestinationError | None, keys: FrozenKeys) -> None:
        """Have refused keys read from their source again: another process may have renewed them there."""
        if isinstance(failure, DestinationRefused):
            self._keys.invalidate(keys)

    async def verify(self, *, force: bool = False) -> None:
        if not self._destination.verify:
            self._warn_unverified()
        if not self._needs_verification(force):
            return
        async with self._verify_lock:
            heartbeat.beat()
            if not self._needs_verification(force):
                return
            now, committed_seq = self._clock.monotonic(), self._committed_seq()
            try:
                await self._describe(self._destination.event_bus)
            except DescribeDenied:
                self._can_verify = False
                log.warning(
                    "bus verification denied, events to a missing bus would be lost and count as sent",
                    hint=f"{ALLOW_DESCRIBE}; {VERIFY_OFF}",
                )
            else:
                self.verified_seq = committed_seq
            self._verified_at = now

    def _warn_unverified(self) -> None:
        if self._can_verify:
            self._can_verify = False
            log.warning(
                "bus not verified, events to a missing bus would be lost and count as sent",
                hint="set destination.verify = true if events:DescribeEventBus can be allowed on the bus",
            )

    def _needs_verification(self, force: bool) -> bool:
        is_fresh = (
            self._verified_at is not None and self._clock.monotonic() - self._verified_at < VERIFY_INTERVAL_SECONDS
        )
        return self._can_verify and (force or not is_fresh)

    async def verify_by_name(self, name: str) -> None:
        region, digest, event_bus = name.split("/", 2)
        if not self._destination.verify:
            raise BusUnverified(f"{name} is not verified: destination.verify is false", code="verify-off")
        if (region, digest) != (self._destination.region, self._identity.digest):
            raise DestinationRefused(f"{name} is in another region or account", code="elsewhere")
        await self._describe(event_bus)

    async def _describe(self, event_bus: str) -> None:
        """Ask AWS for the bus. Raise DestinationError if it is missing, or if that cannot be known."""
        keys, _ = await self._prepare()
        try:
            async with self._timeout():
                response = await self._client.describe_event_bus(Name=event_bus)
        except Exception as error:  # noqa: BLE001  # as above
            failure = error_before_request(error, "it is unknown whether the bus exists", self._endpoint_url)
            self._invalidate_keys(failure, keys)
            raise self._with_regions(failure, event_bus) from None
        if not (
            response.get("Name") or response.get("Arn")
        ):  # a page of HTML comes back from the SDK as nothing at all
            raise DestinationUnavailable(
                "it is unknown whether the bus exists: the answer cannot be understood",
                code="not-aws",
                hint="something between here and AWS answers in its place: check endpoint_url and proxies",
            )

    def _with_regions(self, error: DestinationError, event_bus: str) -> DestinationError:
        """Name both regions if the bus's ARN is one of another region: AWS names neither."""
        region, configured = region_of(event_bus), self._destination.region
        if isinstance(error, BusUnverified) and region and region != configured:
            hint = f"event_bus is in the region {region}, but region is {configured}: set region; {VERIFY_OFF}"
            return BusUnverified(error.message, code=error.code, hint=hint)
        return error

    async def _prepare(self) -> tuple[FrozenKeys, PutEvents]:
        """Return keys, and the call for which they are. Raise DestinationError: nothing was sent yet."""
        keys = await self._keys.find()
        try:
            async with self._timeout(), self._connect_lock:
                # Only now, since a client that is made without keys never gets any.
                if self._put_events is None:
                    self._put_events = await self._create_clients()
        except Exception as error:  # noqa: BLE001  # as above, and each setting of the SDK
            raise error_before_request(error, "the AWS client cannot be made", self._endpoint_url) from None
        return keys, self._put_events

    def _timeout(self) -> asyncio.Timeout:
        return asyncio.timeout(self._timeout_seconds)

    async def _create_clients(self) -> PutEvents:
        """Make the SDK's client, for all calls or for all but one."""
        destination = self._destination
        session = self._keys.client_session()
        if self._client is None:
            self._client = await self._exit_stack.enter_async_context(
                session.create_client(
                    "events",
                    region_name=destination.region,
                    endpoint_url=destination.endpoint_url or None,
                    config=client_config(destination),
                )
            )
        client = self._client
        self._endpoint_url = client.meta.endpoint_url
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
