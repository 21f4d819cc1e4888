"""Packing owed entries into requests."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from forwarder.aws.bus import Event
from forwarder.event.size import entry_bytes
from forwarder.event.trim import marked_as_replay, refit
from forwarder.model import Owed
from forwarder.settings import Settings

MOST_ENTRIES = 10
"""EventBridge refuses a request with more."""


@dataclass(frozen=True)
class Stamp:
    """What the settings put on every event as it is published, so that a change serves what is already owed."""

    source: str
    detail_type: str
    max_entry_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.event.source, settings.event.detail_type, settings.destination.max_entry_bytes)

    @cached_property
    def beside_detail(self) -> int:
        """Bytes of an event that are not its detail's."""
        return entry_bytes(self.source, self.detail_type, b"")

    def event(self, owed: Owed) -> Event:
        entry = owed.entry
        detail = marked_as_replay(entry.detail) if owed.replay else entry.detail
        detail = refit(detail, self.max_entry_bytes - self.beside_detail)
        detail.decode()  # raises here, not in a request of which it is a part: there it would stop its neighbours
        return Event(self.source, self.detail_type, entry.time, detail)


@dataclass(slots=True)
class Batch:
    owed: list[Owed]
    events: list[Event]

    def halves(self) -> tuple["Batch", "Batch"]:
        middle = len(self.owed) // 2
        return (
            Batch(self.owed[:middle], self.events[:middle]),
            Batch(self.owed[middle:], self.events[middle:]),
        )


class Packer:
    """Holds entries that were taken and not sent yet, and hands them out request by request, in order."""

    def __init__(self, stamp: Stamp, max_request_bytes: int) -> None:
        self._stamp = stamp
        self._max_bytes = max_request_bytes
        self._waiting: deque[tuple[Owed, Event]] = deque()

    def add(self, entries: Iterable[Owed]) -> list[Owed]:
        """Those of which no event can be made are given back: they must not keep the others waiting."""
        unfit = []
        for owed in entries:
            try:
                self._waiting.append((owed, self._stamp.event(owed)))
            except Exception:  # noqa: BLE001  # of a detail that is not the JSON it was recorded as, whatever it is
                unfit.append(owed)
        return unfit

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def next(self, most_entries: int = MOST_ENTRIES) -> Batch:
        """The next request: full by number or by bytes, or all there is. An entry too large for any goes alone."""
        batch = Batch([], [])
        size, beside_details = 0, self._stamp.beside_detail
        while self._waiting and len(batch.owed) < most_entries:
            owed, event = self._waiting[0]
            size += beside_details + len(event.detail)
            if batch.owed and size > self._max_bytes:
                break
            self._waiting.popleft()
            batch.owed.append(owed)
            batch.events.append(event)
        return batch

    def empty(self) -> list[Owed]:
        """Take back everything that is waiting."""
        left = [owed for owed, _ in self._waiting]
        self._waiting.clear()
        return left
