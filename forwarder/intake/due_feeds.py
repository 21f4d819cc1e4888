"""The order in which feeds are due."""

import heapq
from itertools import count

from forwarder.model import Feed

MIN_VOID_ENTRIES = 64
"""A heap is rebuilt without its void entries when they outnumber the waiting feeds by more than this."""

_Entry = tuple[float, int, Feed]
"""An entry of a heap: the time, the sequence of the feed when it was added, and the feed."""


class DueFeeds:
    """The feeds that wait for a poll, and the monotonic times at which they are due and urgent.

    Each feed has one valid entry in each heap. A newer entry, a claim or a removal makes the older ones void.
    """

    def __init__(self) -> None:
        self._due: list[_Entry] = []
        self._urgent: list[_Entry] = []
        self._valid_sequences: dict[Feed, int] = {}
        self._sequences = count()

    def push(self, feed: Feed, due_at: float, urgent_at: float) -> None:
        """Make a feed due at a time, and urgent at a time that is not before. Its earlier times are void."""
        sequence = self._valid_sequences[feed] = next(self._sequences)
        heapq.heappush(self._due, (due_at, sequence, feed))
        heapq.heappush(self._urgent, (urgent_at, sequence, feed))
        for heap in (self._due, self._urgent):
            if len(heap) > 2 * len(self._valid_sequences) + MIN_VOID_ENTRIES:
                heap[:] = [entry for entry in heap if self._is_valid(entry)]
                heapq.heapify(heap)

    def claim(self, now: float) -> Feed | None:
        """Remove and return the feed that is due first, or None if none is due. Urgent feeds come before all others."""
        for heap in (self._urgent, self._due):
            if (first := self._first(heap)) is not None and first[0] <= now:
                feed = heapq.heappop(heap)[2]
                del self._valid_sequences[feed]
                return feed
        return None

    def next_due_at(self) -> float | None:
        """Return the time at which the next feed is due, or None without a feed."""
        first = self._first(self._due)
        return None if first is None else first[0]

    def remove(self, feed: Feed) -> None:
        """Remove a feed, if it waits."""
        self._valid_sequences.pop(feed, None)

    def _first(self, heap: list[_Entry]) -> _Entry | None:
        """Return the first valid entry of a heap, or None without one. Remove the void ones before it."""
        while heap and not self._is_valid(heap[0]):
            heapq.heappop(heap)
        return heap[0] if heap else None

    def _is_valid(self, entry: _Entry) -> bool:
        _, sequence, feed = entry
        return self._valid_sequences.get(feed) == sequence
