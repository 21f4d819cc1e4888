"""The classic event bus, through aiobotocore; and its one call that has to be fast through a client of our own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

import structlog

from forwarder.aws.answers import (
    RequestRefused,
    entry_outcome,
    is_understood,
    put_events_error,
    refusal_of_all,
)
from forwarder.aws.credentials import Identity, aio_config
from forwarder.aws.current_keys import CurrentKeys
from forwarder.aws.put import DirectClient, FrozenKeys
from forwarder.aws.request_errors import ALLOW_DESCRIBE, VERIFY_OFF, before_request, region_of
from forwarder.clock import Clock
from forwarder.errors import BusUnverified, DescribeDenied, DestinationError, DestinationRefused, DestinationUnavailable
from forwarder.metrics import Metrics
from forwarder.model import Outcome, Unknown

log = structlog.get_logger("bus")

LOOK_EVERY = 60.0
"""Seconds for which the bus is taken to exist. PutEvents to a bus that does not answers 200 and drops the events."""

NEVER_VERIFIED = ("elsewhere", "verify-off")
"""Codes of ours for a bus that will never be verified."""

PATIENCE = 3
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
class Answer:
    """One outcome for each event, in order; `stop` if the bus refuses every other event as well."""

    outcomes: list[Outcome]
    stop: DestinationError | None = None


class Bus(Protocol):
    name: str
    seen: int | None
    """The last settlement before it was last known to exist. What is settled after that it may have dropped."""

    async def look(self, *, anew: bool = False) -> None:
        """Ask whether it exists, where that was not asked lately, or `anew`. Raises DestinationError."""

    async def look_for(self, name: str) -> None:
        """Ask whether another bus exists, by the name that it has here. Raises DestinationError."""

    async def put(self, events: Sequence[Event]) -> Answer | RequestRefused:
        """Publish up to 10 events in one request.

        Return only what a response to PutEvents says, or Unknown if it may have arrived. Raise DestinationError if
        nothing was accepted, which settles nothing.
        """


class ClassicBus:
    """Entered with `async with`, which does no I/O. `settled` tells the number of the last settlement."""

    def __init__(
        self,
        identity: Identity,
        clock: Clock,
        metrics: Metrics | None = None,
        settled: Callable[[], int] = lambda: 0,
    ) -> None:
        self._identity = identity
        self._destination = identity.destination
        self._seconds = PATIENCE * identity.destination.timeout.total_seconds()
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._settled = settled
        self._open = AsyncExitStack()
        self.name = f"{identity.destination.region}/{identity.digest}/{identity.destination.event_bus}"
        self._address = identity.destination.endpoint_url
        self._keys = CurrentKeys(identity, self._seconds)
        self._client: Any = None
        self._put_events: PutEvents | None = None
        self._connecting = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._seen_at: float | None = None
        self.seen: int | None = None
        self._may_look = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def put(self, events: Sequence[Event]) -> Answer | RequestRefused:
        await self.look()
        keys, put_events = await self._ready()
        request = put_events(keys, [self._entry(event) for event in events])
        began = self._clock.monotonic()
        try:
            # The clients' time-outs are between two bytes: an answer that trickles would hold the request for ever.
            async with self._patience():
                said = await request
        except Exception as error:  # noqa: BLE001  # whatever the SDK raises, the table has its meaning
            meaning = put_events_error(error, self._address)
            if isinstance(meaning, DestinationError):
                self._seen_at = None
                self._note_refusal(meaning, keys)
                raise meaning from None
            return meaning if isinstance(meaning, RequestRefused) else Answer([meaning] * len(events))
        finally:
            self._metrics.put(self._clock.monotonic() - began)
        if not is_understood(said, len(events)):
            return Answer([Unknown("the answer of the bus cannot be understood")] * len(events))
        told = said["Entries"]
        stop = refusal_of_all(told)
        self._note_refusal(stop, keys)
        return Answer([entry_outcome(entry) for entry in told], stop)

    def _note_refusal(self, meaning: DestinationError | None, keys: FrozenKeys) -> None:
        """Have refused keys read from their source again: another process may have renewed them there."""
        if isinstance(meaning, DestinationRefused):
            self._keys.refused(keys)

    async def look(self, *, anew: bool = False) -> None:
        if not self._destination.verify:
            self._warn_of_no_check()
        if not self._is_to_look(anew):
            return
        async with self._looking:
            if not self._is_to_look(anew):
                return
            now, settled = self._clock.monotonic(), self._settled()
            try:
                await self._describe(self._destination.event_bus)
            except DescribeDenied:
                self._may_look = False
                log.warning(
                    "may not look whether the bus exists, and publishing to one that does not looks like success",
                    mend=f"{ALLOW_DESCRIBE}; {VERIFY_OFF}",
                )
            else:
                self.seen = settled
            self._seen_at = now

    def _warn_of_no_check(self) -> None:
        if self._may_look:
            self._may_look = False
            log.warning(
                "the bus is not verified: events to a bus that does not exist are lost, and count as sent",
                mend="set destination.verify = true if events:DescribeEventBus can be allowed on the bus",
            )

    def _is_to_look(self, anew: bool) -> bool:
        is_fresh = self._seen_at is not None and self._clock.monotonic() - self._seen_at < LOOK_EVERY
        return self._may_look and (anew or not is_fresh)

    async def look_for(self, name: str) -> None:
        region, digest, event_bus = name.split("/", 2)
        if not self._destination.verify:
            raise BusUnverified(f"{name} is not verified: destination.verify is false", code="verify-off")
        if (region, digest) != (self._destination.region, self._identity.digest):
            raise DestinationRefused(f"{name} is in another region or account", code="elsewhere")
        await self._describe(event_bus)

    async def _describe(self, event_bus: str) -> None:
        """Ask AWS for the bus. Raise DestinationError if it is missing, or if that cannot be known."""
        keys, _ = await self._ready()
        try:
            async with self._patience():
                said = await self._client.describe_event_bus(Name=event_bus)
        except Exception as error:  # noqa: BLE001  # as above
            meaning = before_request(error, "it is unknown whether the bus exists", self._address)
            self._note_refusal(meaning, keys)
            raise self._with_regions(meaning, event_bus) from None
        if not (said.get("Name") or said.get("Arn")):  # a page of HTML comes back from the SDK as nothing at all
            raise DestinationUnavailable(
                "it is unknown whether the bus exists: the answer cannot be understood",
                code="not-aws",
                hint="something between here and AWS answers in its place: check endpoint_url and proxies",
            )

    def _with_regions(self, error: DestinationError, event_bus: str) -> DestinationError:
        """Name both regions if the bus's ARN is one of another region: AWS names neither."""
        region, ours = region_of(event_bus), self._destination.region
        if isinstance(error, BusUnverified) and region and region != ours:
            hint = f"event_bus is in the region {region}, but region is {ours}: set region; {VERIFY_OFF}"
            return BusUnverified(error.message, code=error.code, hint=hint)
        return error

    async def _ready(self) -> tuple[FrozenKeys, PutEvents]:
        """Return keys, and the call for which they are. Raise DestinationError: nothing was sent yet."""
        keys = await self._keys.find()
        try:
            async with self._patience(), self._connecting:
                # Only now, since a client that is made without keys never gets any.
                if self._put_events is None:
                    self._put_events = await self._connect()
        except Exception as error:  # noqa: BLE001  # as above, and each setting of the SDK
            raise before_request(error, "the AWS client cannot be made", self._address) from None
        return keys, self._put_events

    def _patience(self) -> asyncio.Timeout:
        return asyncio.timeout(self._seconds)

    async def _connect(self) -> PutEvents:
        """Make the SDK's client, for all calls or for all but one."""
        destination = self._destination
        session = self._keys.client_session()
        if self._client is None:
            self._client = await self._open.enter_async_context(
                session.create_client(
                    "events",
                    region_name=destination.region,
                    endpoint_url=destination.endpoint_url or None,
                    config=aio_config(destination),
                )
            )
        client = self._client
        self._address = client.meta.endpoint_url
        if destination.client == "sdk":
            return lambda _, entries: client.put_events(
                Entries=[{**entry, "Detail": entry["Detail"].decode()} for entry in entries]
            )
        direct = DirectClient(
            self._address,
            destination.region,
            seconds=destination.timeout.total_seconds(),
            connections=destination.concurrency,
            bundle=session.get_config_variable("ca_bundle") or "",
        )
        return (await self._open.enter_async_context(direct)).put_events

    def _entry(self, event: Event) -> dict[str, Any]:
        return {
            "Time": int(event.time.timestamp()),
            "Source": event.source,
            "DetailType": event.detail_type,
            "Detail": event.detail,
            "EventBusName": self._destination.event_bus,
        }
