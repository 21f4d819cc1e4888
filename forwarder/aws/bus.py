"""The classic event bus, through aiobotocore."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

import structlog
from botocore.exceptions import NoCredentialsError

from forwarder.aws.answers import CHECK_KEYS, MAY_NOT, entry_outcome, is_understood, refusal_of_all, request_error
from forwarder.aws.credentials import Identity, aio_config
from forwarder.clock import Clock
from forwarder.errors import DestinationError, DestinationRefused, DestinationUnavailable
from forwarder.metrics import Metrics
from forwarder.model import Outcome, Unknown

log = structlog.get_logger("bus")

LOOK_EVERY = 60.0
"""Seconds for which the bus is taken to exist. PutEvents to a bus that does not answers 200 and drops the events."""


PATIENCE = 3
"""A request is given up after this many of its time-outs, whatever still trickles in."""


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of a request. `detail` is JSON."""

    source: str
    detail_type: str
    time: datetime
    detail: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """One outcome for each event, in order; `stop` where the bus refuses every other event as well."""

    outcomes: list[Outcome]
    stop: DestinationRefused | None = None


class Bus(Protocol):
    name: str
    existed_at: datetime | None
    """When it was last known to exist. What it accepts after that it may drop."""

    async def look(self, *, anew: bool = False) -> None:
        """Ask whether it exists, where that was not asked lately, or `anew`. Raises DestinationError."""

    async def look_for(self, name: str) -> None:
        """Ask whether another bus exists, by the name that it has here. Raises DestinationError."""

    async def put(self, events: Sequence[Event]) -> Answer:
        """Publish up to 10 events in one request. Raises DestinationError: then nothing was accepted."""


class ClassicBus:
    """Entered with `async with`, which does no I/O."""

    def __init__(self, identity: Identity, clock: Clock, metrics: Metrics | None = None) -> None:
        self._identity = identity
        self._destination = identity.destination
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._open = AsyncExitStack()
        self.name = f"{identity.destination.region}/{identity.destination.event_bus}"
        self._session = identity.session()
        self._client: Any = None
        self._connecting = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._seen_at: float | None = None
        self.existed_at: datetime | None = None
        self._may_look = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def put(self, events: Sequence[Event]) -> Answer:
        await self.look()
        client = await self._ready()
        began = self._clock.monotonic()
        try:
            # The SDK's time-outs are between two bytes: an answer that trickles would hold the request for ever.
            async with asyncio.timeout(PATIENCE * self._destination.timeout.total_seconds()):
                said = await client.put_events(Entries=[self._entry(event) for event in events])
        except Exception as error:  # noqa: BLE001  # whatever the SDK raises, the table says what it means
            meant = request_error(error)
            if isinstance(meant, DestinationError):
                self._seen_at = None
                raise meant from None
            return Answer([meant] * len(events))
        finally:
            self._metrics.put(self._clock.monotonic() - began)
        if not is_understood(said, len(events)):
            return Answer([Unknown("the answer of the bus cannot be understood")] * len(events))
        entries = said["Entries"]
        return Answer([entry_outcome(entry) for entry in entries], refusal_of_all(entries))

    async def look(self, *, anew: bool = False) -> None:
        async with self._looking:
            now, began_at = self._clock.monotonic(), self._clock.now()
            is_fresh = self._seen_at is not None and now - self._seen_at < LOOK_EVERY
            if not self._may_look or (is_fresh and not anew):
                return
            try:
                await self._describe(self._destination.event_bus)
            except DestinationRefused as error:
                if error.code not in MAY_NOT:
                    raise
                self._may_look = False
                log.warning(
                    "may not look whether the bus exists, and publishing to one that does not looks like success",
                    mend="allow events:DescribeEventBus on the bus",
                )
            else:
                self.existed_at = began_at
            self._seen_at = now

    async def look_for(self, name: str) -> None:
        region, _, event_bus = name.partition("/")
        if region != self._destination.region:
            raise DestinationRefused(f"{name} is in another region", code="region")
        await self._describe(event_bus)

    async def _describe(self, event_bus: str) -> None:
        client = await self._ready()
        try:
            async with asyncio.timeout(PATIENCE * self._destination.timeout.total_seconds()):
                await client.describe_event_bus(Name=event_bus)
        except Exception as error:  # noqa: BLE001  # as above
            meant = request_error(error)
            if isinstance(meant, DestinationError):
                raise meant from None
            why = f"whether the bus exists cannot be told: {meant.reason}"
            raise DestinationUnavailable(why, code="unreachable") from None

    async def _ready(self) -> Any:
        """A client whose keys can be had now: what fails before a request was never sent. Raises DestinationError."""
        try:
            await self._find_keys()
            # Only then, for a client that is made without keys stays without.
            async with self._connecting:
                if self._client is None:
                    self._client = await self._open.enter_async_context(self._new_client())
        except Exception as error:  # noqa: BLE001  # each link of the chain, and each file it reads, has its own
            meant = request_error(error)
            if isinstance(meant, DestinationError):
                raise meant from None
            why = f"the AWS keys cannot be had: {meant.reason}"
            raise DestinationRefused(why, code="credentials", hint=CHECK_KEYS) from None
        return self._client

    async def _find_keys(self) -> None:
        """In the ambient chain, or a role's, which are renewed where they are about to end."""
        keys = await self._session.get_credentials()
        if keys is None:
            raise NoCredentialsError
        await keys.get_frozen_credentials()

    def _new_client(self) -> Any:
        return self._session.create_client(
            "events",
            region_name=self._destination.region,
            endpoint_url=self._destination.endpoint_url or None,
            config=aio_config(self._destination),
        )

    def _entry(self, event: Event) -> dict[str, Any]:
        return {
            "Time": event.time,
            "Source": event.source,
            "DetailType": event.detail_type,
            "Detail": event.detail.decode(),
            "EventBusName": self._destination.event_bus,
        }
