"""The batches of claimed entries: each is one request, or several if the bus refuses the whole request."""

import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import structlog

from forwarder import heartbeat
from forwarder.aws.eventbridge import Event, NotOwned, PublishResult
from forwarder.aws.responses import RequestRefusal
from forwarder.delivery.bus_check import VerifiedBus
from forwarder.delivery.refusal_tracker import RefusalTracker
from forwarder.errors import DestinationError, DestinationUnavailable
from forwarder.event.idempotency import published_detail
from forwarder.event.truncate import entry_bytes, fit_encoded
from forwarder.model import Accepted, ClaimedEntry, Retry, Token
from forwarder.settings import Settings

log = structlog.get_logger("delivery")

MAX_ENTRIES = 10
"""EventBridge's limit for one request."""

NONCHARACTERS, REPLACEMENT = re.compile(b"\xef\xbf[\xbe\xbf]"), b"\xef\xbf\xbd"
"""U+FFFE and U+FFFF in UTF-8, and U+FFFD, which replaces them.

EventBridge accepts the two, but SQS refuses a message with one of them, so that the event would be lost behind the bus:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html.
"""


@dataclass(frozen=True)
class EventTemplate:
    """The settings of every published event. They apply after the claim, so a change affects pending entries."""

    source: str
    detail_type: str
    max_entry_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.event.source, settings.event.detail_type, settings.destination.max_entry_bytes)

    @cached_property
    def overhead_bytes(self) -> int:
        """Return the size of an event without its detail."""
        return entry_bytes(self.source, self.detail_type, b"")

    def build(self, claimed: ClaimedEntry) -> Event:
        entry = claimed.entry
        detail = published_detail(entry.detail, claimed.send_number)
        detail = fit_encoded(detail, self.max_entry_bytes - self.overhead_bytes)
        detail.decode()  # an error in a request would stop the other entries too
        detail = NONCHARACTERS.sub(REPLACEMENT, detail)  # the size stays the same
        return Event(self.source, self.detail_type, entry.time, detail)


@dataclass(slots=True)
class Batch:
    """The entries of one request, with the event of each."""

    entries: list[ClaimedEntry]
    events: list[Event]

    def split(self) -> tuple["Batch", "Batch"]:
        middle = len(self.entries) // 2
        return (
            Batch(self.entries[:middle], self.events[:middle]),
            Batch(self.entries[middle:], self.events[middle:]),
        )


class Batcher:
    """A queue of claimed entries that are not sent yet. It returns them in batches, in order."""

    def __init__(self, template: EventTemplate, max_request_bytes: int) -> None:
        self._template = template
        self._max_request_bytes = max_request_bytes
        self._queue: deque[tuple[ClaimedEntry, Event]] = deque()

    def add(self, entries: Iterable[ClaimedEntry]) -> list[ClaimedEntry]:
        """Queue the entries from which events can be built. Return the other entries, which would block the queue."""
        invalid = []
        for claimed in entries:
            try:
                self._queue.append((claimed, self._template.build(claimed)))
            except Exception:  # noqa: BLE001  # a damaged detail can raise any error
                invalid.append(claimed)
        return invalid

    def __bool__(self) -> bool:
        return bool(self._queue)

    def next_batch(
        self, max_entries: int = MAX_ENTRIES, *, is_sent_alone: Callable[[ClaimedEntry], bool] = lambda _: False
    ) -> Batch:
        """Return the next batch, up to the limits of entries and bytes.

        An entry that exceeds the limit of bytes, or for which `is_sent_alone` returns true, is a batch of its own.
        """
        batch = Batch([], [])
        size, overhead_bytes = 0, self._template.overhead_bytes
        while self._queue and len(batch.entries) < max_entries:
            claimed, event = self._queue[0]
            size += overhead_bytes + len(event.detail)
            is_alone = is_sent_alone(claimed)
            if batch.entries and (is_alone or size > self._max_request_bytes):
                break
            if is_alone:
                max_entries = 1
            self._queue.popleft()
            batch.entries.append(claimed)
            batch.events.append(event)
        return batch

    def drain(self) -> list[ClaimedEntry]:
        """Remove and return everything that is queued."""
        left = [claimed for claimed, _ in self._queue]
        self._queue.clear()
        return left


@dataclass(frozen=True, slots=True)
class PublishedBatch:
    """A batch with the outcomes of its entries."""

    batch: Batch
    result: PublishResult


class InternalFailure:
    """A request that failed inside the forwarder. Its entries stay pending."""


async def publish(
    bus: VerifiedBus, batch: Batch, refusal_tracker: RefusalTracker, owns: Callable[[Collection[Token]], bool]
) -> AsyncIterator[PublishedBatch]:
    """Yield each part of the batch with its result, as soon as the result is known.

    A request that the bus refuses as a whole, or that fails inside the forwarder, is split in halves down to single
    entries. Single entries that still fail are yielded last, because their outcome depends on whether the bus accepted
    other entries. Raise DestinationError if the remaining parts have no result, and NotOwned if `owns`, which is called
    before each request, returns False.
    """
    chunks, single_refusals, failed_chunks = [batch], [], []
    requests_before = refusal_tracker.requests
    while chunks:
        heartbeat.beat()
        chunk = chunks.pop()
        number = refusal_tracker.next_request()
        result = await _publish_chunk(bus, chunk, owns)
        if isinstance(result, PublishResult):
            accepted = [
                claimed
                for claimed, outcome in zip(chunk.entries, result.outcomes, strict=True)
                if isinstance(outcome, Accepted)
            ]
            if accepted:
                refusal_tracker.record_accepted(number, accepted)
            yield PublishedBatch(chunk, result)
        elif len(chunk.entries) > 1:
            first, second = chunk.split()
            chunks += second, first
        elif isinstance(result, RequestRefusal):
            single_refusals.append((chunk, refusal_tracker.record_refused(chunk.entries[0], result)))
        else:
            failed_chunks.append(chunk)
    for chunk, refusal in single_refusals:
        yield PublishedBatch(chunk, refusal_tracker.result_for(refusal, since=requests_before))
    for chunk in failed_chunks:
        yield PublishedBatch(
            chunk, _internal_failure_result(applies_to_all=not refusal_tracker.is_accepted_since(requests_before))
        )


async def _publish_chunk(
    bus: VerifiedBus, chunk: Batch, owns: Callable[[Collection[Token]], bool]
) -> PublishResult | RequestRefusal | InternalFailure:
    tokens = [claimed.token for claimed in chunk.entries]
    try:
        return await bus.publish(chunk.events, is_owned=lambda: owns(tokens))
    except (DestinationError, NotOwned):
        raise
    except Exception as error:
        log.exception("PutEvents request failed", exception_type=type(error).__name__)
        return InternalFailure()


def _internal_failure_result(*, applies_to_all: bool) -> PublishResult:
    """Return the outcome of one entry whose request failed inside the forwarder.

    The entry stays pending. Its attempt does not count as an unclassified one.
    """
    reason = "a request failed inside the forwarder"
    stop_error = DestinationUnavailable(reason, code="internal") if applies_to_all else None
    return PublishResult([Retry("internal", reason)], stop_error)
