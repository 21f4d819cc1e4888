"""When each feed is read next: a busy one so often that one page suffices, a quiet one rarely."""

import asyncio
import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from forwarder.backoff import ceiling_of, jittered
from forwarder.clock import Clock
from forwarder.model import Feed
from forwarder.settings.fields import SourceSettings

SLOWING = 1.5
"""How much longer the next interval may be than the last, where nothing came."""

NUDGED_SHARE = 0.5
"""Of all requests: what nudges may take at most, so that a storm of them leaves the other feeds their turns."""

NUDGES_AT_ONCE = 8
"""Feeds that may be brought forward together, before that share counts."""

NUDGE_GAP = 1.0
"""Seconds between two readings of a feed that is nudged all the time; less where `min_interval` is."""


@dataclass(slots=True)
class _Pace:
    """Seconds. `turn` is the feed's place in the heap that counts; older places are void.

    `again` is that it is to be read once more after the reading that goes on, `taken_at` when that one began.
    """

    interval: float
    turn: int
    due_at: float = 0.0
    taken_at: float = float("-inf")
    again: bool = False
    read_at: float | None = None
    failures: int = 0


class Schedule:
    """Hands out feeds as they fall due, each to one reader at a time, and no more at once than `concurrency`."""

    def __init__(self, settings: SourceSettings, clock: Clock) -> None:
        self._shortest = settings.min_interval.total_seconds()
        self._longest = settings.max_interval.total_seconds()
        self._page = settings.page_size
        self._most = settings.concurrency
        self._nudge_every = 1 / (NUDGED_SHARE * settings.requests_per_second)
        self._nudge_gap = min(NUDGE_GAP, self._shortest)
        self._nudged_until = 0.0
        self._clock = clock
        self._paces: dict[Feed, _Pace] = {}
        self._leaving: set[Feed] = set()
        self._reading: set[Feed] = set()
        self._due: list[tuple[float, int, Feed]] = []
        self._turns = count()
        self._changed = asyncio.Event()

    def watch(self, feeds: Iterable[Feed]) -> None:
        """Read these from now on, new ones at once; and the others once more, for what failed since they were read."""
        wanted = dict.fromkeys(feeds)
        self._leaving.difference_update(wanted)
        for feed in [feed for feed in self._paces if feed not in wanted]:
            self._leave(feed)
        for feed in wanted:
            if feed not in self._paces:
                self._paces[feed] = _Pace(self._shortest, turn=-1)
                if feed not in self._reading:  # else it came back while its last reading goes on
                    self._put(feed, 0)

    def restart(self) -> None:
        """Nobody is reading any more: what was being read is due."""
        for feed in self._reading & self._paces.keys():
            self._put(feed, 0)
        self._reading.clear()

    def __contains__(self, feed: Feed) -> bool:
        """Whether it is watched: one that is only read once more is not."""
        return feed in self._paces and feed not in self._leaving

    def __len__(self) -> int:
        return len(self._paces) - len(self._leaving)

    @property
    def feeds(self) -> list[Feed]:
        return [feed for feed in self._paces if feed not in self._leaving]

    async def next(self) -> Feed:
        """Wait until a feed is due and may be read, and take it until `done` or `failed` is told."""
        while True:
            self._changed.clear()
            feed, wait = self._first_due()
            if feed is not None:
                self._reading.add(feed)
                self._paces[feed].taken_at = self._clock.monotonic()
                return feed
            await self._clock.wait(self._changed, wait)

    def done(self, feed: Feed, arrived: int) -> float | None:
        """It was read. `arrived` were new; the next reading comes when half a page is expected."""
        self._free(feed)
        pace = self._paces.get(feed)
        if pace is None:
            return None
        if feed in self._leaving and not pace.again:
            self._drop(feed)
            return None
        now = self._clock.monotonic()
        longer = pace.interval * SLOWING
        if arrived and pace.read_at is not None:
            longer = min(longer, (now - pace.read_at) * self._page / 2 / arrived)
        pace.interval = min(self._longest, max(self._shortest, longer))
        pace.read_at, pace.failures = now, 0
        # Spread, so that feeds that began together do not stay together.
        return self._end(feed, pace, max(self._shortest, pace.interval - jittered(pace.interval / 5)))

    def failed(self, feed: Feed, *, lasting: bool = False) -> float | None:
        """It could not be read; it alone is asked more and more rarely.

        `lasting` is an answer that stays the same however often it is asked for: it will do as a last reading.
        """
        self._free(feed)
        pace = self._paces.get(feed)
        if pace is None:
            return None
        if feed in self._leaving and lasting:
            self._drop(feed)
            return None
        ceiling = ceiling_of(pace.failures + 1, base=self._shortest, cap=self._longest)
        pace.failures += 1
        pace.again = False
        return self._end(feed, pace, ceiling / 2 + jittered(ceiling / 2))

    def nudge(self, workflow_id: str, user_id: str | None = None) -> list[Feed]:
        """Bring the feeds of a workflow forward, those that show a user's executions where one is named; which."""
        feeds = [
            feed
            for feed in self._paces
            if feed.workflow_id == workflow_id and (user_id is None or feed.user_id in (None, user_id))
        ]
        for feed in feeds:
            self.bring_forward(feed)
        return feeds

    def bring_forward(self, feed: Feed) -> None:
        """Make a feed due now, or as soon as nudges may have another request; not one that cannot be read."""
        pace = self._paces.get(feed)
        if pace is None or pace.failures or pace.again or feed in self._leaving:
            return
        now = self._clock.monotonic()
        at = max(now, self._nudged_until - NUDGES_AT_ONCE * self._nudge_every, pace.taken_at + self._nudge_gap)
        if feed in self._reading:
            pace.again = True
        elif at < pace.due_at:
            self._put(feed, at - now)
        else:
            return
        self._nudged_until = max(now, self._nudged_until) + self._nudge_every

    def _leave(self, feed: Feed) -> None:
        """It has a last reading, at once; where that fails, it is tried until the feed leaves a second time."""
        pace = self._paces[feed]
        if feed not in self._leaving:
            self._leaving.add(feed)
            pace.failures = 0
            if feed in self._reading:
                pace.again = True
            else:
                self._put(feed, 0)
        elif pace.failures:
            self._drop(feed)

    def _drop(self, feed: Feed) -> None:
        del self._paces[feed]
        self._leaving.discard(feed)

    def _free(self, feed: Feed) -> None:
        self._reading.discard(feed)
        self._changed.set()

    def _end(self, feed: Feed, pace: _Pace, wait: float) -> float:
        if pace.again:
            wait = min(wait, max(0.0, pace.taken_at + self._nudge_gap - self._clock.monotonic()))
        pace.again = False
        self._put(feed, wait)
        return wait

    def _put(self, feed: Feed, wait: float) -> None:
        turn, due_at = next(self._turns), self._clock.monotonic() + wait
        pace = self._paces[feed]
        pace.turn, pace.due_at = turn, due_at
        heapq.heappush(self._due, (due_at, turn, feed))
        self._changed.set()

    def _first_due(self) -> tuple[Feed | None, float]:
        """A feed that may be read now, or the seconds until one is due."""
        while self._due and len(self._reading) < self._most:
            at, turn, feed = self._due[0]
            pace = self._paces.get(feed)
            if pace is None or pace.turn != turn:
                heapq.heappop(self._due)
                continue
            wait = at - self._clock.monotonic()
            if wait > 0:
                return None, wait
            heapq.heappop(self._due)
            return feed, 0
        return None, self._longest
