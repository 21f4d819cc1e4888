"""The classic event bus, through aiobotocore."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

import structlog

from forwarder.aws.answers import entry_outcome, is_understood, refusal_of_all, request_error
from forwarder.aws.credentials import Identity, aio_config
from forwarder.clock import Clock
from forwarder.errors import DestinationError, DestinationRefused, DestinationUnavailable
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

    async def look(self) -> None:
        """Ask whether it exists, where that was not asked lately. Raises DestinationError."""

    async def put(self, events: Sequence[Event]) -> Answer:
        """Publish up to 10 events in one request. Raises DestinationError: then nothing was accepted."""


class ClassicBus:
    """Entered with `async with`, which raises DestinationRefused where the SDK's own settings are wrong."""

    def __init__(self, identity: Identity, clock: Clock) -> None:
        self._identity = identity
        self._destination = identity.destination
        self._clock = clock
        self._open = AsyncExitStack()
        self.name = f"{identity.destination.region}/{identity.destination.event_bus}"
        self._client: Any = None
        self._looking = asyncio.Lock()
        self._seen_at: float | None = None
        self.existed_at: datetime | None = None
        self._may_look = True

    async def __aenter__(self) -> Self:
        session, keys = self._identity.session()
        client = session.create_client(
            "events",
            region_name=self._destination.region,
            endpoint_url=self._destination.endpoint_url or None,
            config=aio_config(self._destination),
            **keys,
        )
        try:
            self._client = await self._open.enter_async_context(client)
        except Exception as error:  # noqa: BLE001  # it has a tree of its own for each of its parts
            # The SDK's own settings: a profile that is not there, a file that cannot be read.
            why = f"the AWS client cannot be made: {type(error).__name__}"
            raise DestinationRefused(why, code="client", hint="check the AWS_* variables and ~/.aws") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def put(self, events: Sequence[Event]) -> Answer:
        await self.look()
        try:
            # The SDK's time-outs are between two bytes: an answer that trickles would hold the request for ever.
            async with asyncio.timeout(PATIENCE * self._destination.timeout.total_seconds()):
                said = await self._client.put_events(Entries=[self._entry(event) for event in events])
        except Exception as error:  # noqa: BLE001  # whatever the SDK raises, the table says what it means
            meant = request_error(error)
            if isinstance(meant, DestinationError):
                self._seen_at = None
                raise meant from None
            return Answer([meant] * len(events))
        if not is_understood(said, len(events)):
            return Answer([Unknown("the answer of the bus cannot be understood")] * len(events))
        entries = said["Entries"]
        return Answer([entry_outcome(entry) for entry in entries], refusal_of_all(entries))

    async def look(self) -> None:
        """Raises BusMissing, or what else kept us from looking."""
        async with self._looking:
            now, began_at = self._clock.monotonic(), self._clock.now()
            if not self._may_look or (self._seen_at is not None and now - self._seen_at < LOOK_EVERY):
                return
            try:
                async with asyncio.timeout(PATIENCE * self._destination.timeout.total_seconds()):
                    await self._client.describe_event_bus(Name=self._destination.event_bus)
            except Exception as error:  # noqa: BLE001  # as above
                self._cannot_look(error)
            else:
                self.existed_at = began_at
            self._seen_at = now

    def _cannot_look(self, error: Exception) -> None:
        """Go on without where it is only that we may not look; raise otherwise."""
        meant = request_error(error)
        if isinstance(meant, DestinationRefused) and meant.code in ("AccessDenied", "AccessDeniedException"):
            self._may_look = False
            log.warning(
                "may not look whether the bus exists, and publishing to one that does not looks like success",
                mend="allow events:DescribeEventBus on the bus",
            )
            return
        if isinstance(meant, DestinationError):
            raise meant from None
        raise DestinationUnavailable(f"whether the bus exists cannot be told: {meant.reason}", code="unreachable")

    def _entry(self, event: Event) -> dict[str, Any]:
        return {
            "Time": event.time,
            "Source": event.source,
            "DetailType": event.detail_type,
            "Detail": event.detail.decode(),
            "EventBusName": self._destination.event_bus,
        }
