"""Batching claimed entries into requests."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from forwarder.aws.eventbridge import Event
from forwarder.event.event_size import entry_bytes
from forwarder.event.truncate import fit_encoded, mark_replay
from forwarder.model import ClaimedEntry
from forwarder.settings import Settings

MAX_ENTRIES = 10
"""EventBridge refuses a request with more."""


@dataclass(frozen=True)
class EventTemplate:
    """The settings of every event as it is published, so that a change applies to entries that are already pending."""

    source: str
    detail_type: str
    max_entry_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.event.source, settings.event.detail_type, settings.destination.max_entry_bytes)

    @cached_property
    def overhead_bytes(self) -> int:
        """The size of an event without its detail."""
        return entry_bytes(self.source, self.detail_type, b"")

    def build(self, claimed: ClaimedEntry) -> Event:
        entry = claimed.entry
        detail = mark_replay(entry.detail) if claimed.replay else entry.detail
        detail = fit_encoded(detail, self.max_entry_bytes - self.overhead_bytes)
        detail.decode()  # raises here, not in a request, where it would stop the other entries
        return Event(self.source, self.detail_type, entry.time, detail)


@dataclass(slots=True)
class Batch:
    entries: list[ClaimedEntry]
    events: list[Event]

    def split(self) -> tuple["Batch", "Batch"]:
        middle = len(self.entries) // 2
        return (
            Batch(self.entries[:middle], self.events[:middle]),
            Batch(self.entries[middle:], self.events[middle:]),
        )


class Batcher:
    """A queue of claimed entries that are not sent yet. It returns them batch by batch, in order."""

    def __init__(self, template: EventTemplate, max_request_bytes: int) -> None:
        self._template = template
        self._max_request_bytes = max_request_bytes
        self._queue: deque[tuple[ClaimedEntry, Event]] = deque()

    def add(self, entries: Iterable[ClaimedEntry]) -> list[ClaimedEntry]:
        """Queue entries, and return those of which no event can be made: they must not block the others."""
        invalid = []
        for claimed in entries:
            try:
                self._queue.append((claimed, self._template.build(claimed)))
            except Exception:  # noqa: BLE001  # of a detail that is not the JSON it was recorded as, whatever it is
                invalid.append(claimed)
        return invalid

    def __bool__(self) -> bool:
        return bool(self._queue)

    def next_batch(self, max_entries: int = MAX_ENTRIES) -> Batch:
        """Return the next batch: full by number or by bytes, or all there is. An entry too large for any goes alone."""
        batch = Batch([], [])
        size, overhead_bytes = 0, self._template.overhead_bytes
        while self._queue and len(batch.entries) < max_entries:
            claimed, event = self._queue[0]
            size += overhead_bytes + len(event.detail)
            if batch.entries and size > self._max_request_bytes:
                break
            self._queue.popleft()
            batch.entries.append(claimed)
            batch.events.append(event)
        return batch

    def drain(self) -> list[ClaimedEntry]:
        """Remove and return everything that is queued."""
        left = [claimed for claimed, _ in self._queue]
        self._queue.clear()
        return left
