"""The schedule of the feeds. A busy feed is polled often enough for one page to suffice, a quiet feed rarely."""

import asyncio
import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from forwarder import heartbeat
from forwarder.backoff import jitter, max_wait
from forwarder.clock import Clock
from forwarder.model import Feed
from forwarder.rate_limit import RateLimiter
from forwarder.settings.models import SourceSettings

MAX_SLOWDOWN = 1.5
"""The factor by which an interval may grow after a poll without new executions."""

TRIGGERED_REQUEST_SHARE = 0.5
"""The share of all requests that triggers may use. A storm of triggers leaves the rest to the other feeds."""

MAX_TRIGGER_BURST = 9
"""The number of feeds that triggers may make due at once. Further feeds wait for the share of requests."""

MIN_TRIGGER_INTERVAL_SECONDS = 1.0
"""The minimum time between two triggered polls of a feed, unless `min_interval` is shorter."""


@dataclass(slots=True)
class _FeedState:
    """The intervals and times of one feed, in seconds.

    `sequence` is the valid entry of the feed in the heap; older entries are void. `poll_again` requests another poll
    after the current one, which began at `poll_started_at`.
    """

    interval: float
    sequence: int
    due_at: float = 0.0
    poll_started_at: float = float("-inf")
    poll_again: bool = False
    polled_at: float | None = None
    failures: int = 0


class Scheduler:
    """The scheduler of feeds. Each feed is claimed by one reader at a time, and at most `concurrency` in total."""

    def __init__(self, settings: SourceSettings, clock: Clock) -> None:
        self._min_interval = settings.min_interval.total_seconds()
        self._max_interval = settings.max_interval.total_seconds()
        self._page_size = settings.page_size
        self._concurrency = settings.concurrency
        self._trigger_limiter = RateLimiter(
            clock,
            interval_seconds=1 / (TRIGGERED_REQUEST_SHARE * settings.requests_per_second),
            burst=MAX_TRIGGER_BURST,
        )
        self._min_trigger_interval = min(MIN_TRIGGER_INTERVAL_SECONDS, self._min_interval)
        self._clock = clock
        self._states: dict[Feed, _FeedState] = {}
        self._removing: set[Feed] = set()
        self._polling: set[Feed] = set()
        self._heap: list[tuple[float, int, Feed]] = []
        self._sequences = count()
        self._changed = asyncio.Event()

    def watch(self, feeds: Iterable[Feed]) -> None:
        """Watch exactly these feeds. New ones are due at once. Removed ones are polled once more."""
        wanted = dict.fromkeys(feeds)
        self._removing.difference_update(wanted)
        for feed in [feed for feed in self._states if feed not in wanted]:
            self._start_removal(feed)
        for feed in wanted:
            if feed not in self._states:
                self._states[feed] = _FeedState(self._min_interval, sequence=-1)
                if feed not in self._polling:  # otherwise it was added again during its last poll
                    self._push(feed, 0)

    def reset(self) -> None:
        """Make the claimed feeds due again, and end their claims. No reader may be running."""
        for feed in self._polling & self._states.keys():
            self._push(feed, 0)
        self._polling.clear()

    def __contains__(self, feed: Feed) -> bool:
        """Return whether a feed is watched. A removed feed is not, even before its last poll."""
        return feed in self._states and feed not in self._removing

    def __len__(self) -> int:
        return len(self._states) - len(self._removing)

    @property
    def feeds(self) -> list[Feed]:
        return [feed for feed in self._states if feed not in self._removing]

    @property
    def feeds_to_poll(self) -> frozenset[Feed]:
        """Return the watched feeds, and the removed ones before their last poll."""
        return frozenset(self._states)

    def has_removed(self, feed: Feed) -> bool:
        """Return whether a feed is not polled any more: it was removed, and its last poll is over."""
        return feed not in self._states

    async def claim_next(self) -> Feed:
        """Claim the next feed as soon as one is due. End the claim with `record_success` or `record_failure`."""
        while True:
            heartbeat.beat()
            self._changed.clear()
            feed, wait = self._pop_due()
            if feed is not None:
                self._polling.add(feed)
                self._states[feed].poll_started_at = self._clock.monotonic()
                return feed
            heartbeat.beat(wait)
            await self._clock.wait(self._changed, wait)

    def record_success(self, feed: Feed, arrivals: int) -> float | None:
        """End a claim after a poll with `arrivals` new executions. The next poll comes when half a page is expected."""
        self._release(feed)
        state = self._states.get(feed)
        if state is None:
            return None
        if feed in self._removing and not state.poll_again:
            self._remove(feed)
            return None
        now = self._clock.monotonic()
        longer = state.interval * MAX_SLOWDOWN
        if arrivals and state.polled_at is not None:
            longer = min(longer, (now - state.polled_at) * self._page_size / 2 / arrivals)
        state.interval = min(self._max_interval, max(self._min_interval, longer))
        state.polled_at, state.failures = now, 0
        # Jitter separates feeds that were added together.
        return self._reschedule(feed, state, max(self._min_interval, state.interval - jitter(state.interval / 5)))

    def record_failure(self, feed: Feed, *, is_permanent: bool = False) -> float | None:
        """End a claim after a poll that failed. The wait grows with each consecutive failure.

        `is_permanent` marks an error that another poll would not change. A removed feed is not polled again after it.
        """
        self._release(feed)
        state = self._states.get(feed)
        if state is None:
            return None
        if feed in self._removing and is_permanent:
            self._remove(feed)
            return None
        ceiling = max_wait(state.failures + 1, base=self._min_interval, cap=self._max_interval)
        state.failures += 1
        state.poll_again = False
        return self._reschedule(feed, state, ceiling / 2 + jitter(ceiling / 2))

    def trigger(self, workflow_id: str, user_id: str | None = None) -> list[Feed]:
        """Make the feeds of a workflow due, and return them. With `user_id`, skip the feeds of other users."""
        feeds = [
            feed
            for feed in self._states
            if feed.workflow_id == workflow_id and (user_id is None or feed.user_id in (None, user_id))
        ]
        for feed in feeds:
            self.make_due(feed)
        return feeds

    def make_due(self, feed: Feed) -> None:
        """Make a feed due as soon as the limit of triggers allows.

        Do nothing if the feed is removed, or if its last poll failed.
        """
        state = self._states.get(feed)
        if state is None or state.failures or state.poll_again or feed in self._removing:
            return
        now = self._clock.monotonic()
        at = max(now, self._trigger_limiter.next_at, state.poll_started_at + self._min_trigger_interval)
        if feed in self._polling:
            state.poll_again = True
        elif at < state.due_at:
            self._push(feed, at - now)
        else:
            return
        self._trigger_limiter.take()

    @property
    def retry_seconds(self) -> float | None:
        """Return the time until the next poll of a feed whose last poll failed, or None if no feed waits for one."""
        retries = [state.due_at for feed, state in self._states.items() if state.failures and feed not in self._polling]
        return max(0.0, min(retries) - self._clock.monotonic()) if retries else None

    def retry_now(self) -> None:
        """Make every feed due whose last poll failed. Its next wait after another failure stays as long."""
        for feed, state in list(self._states.items()):
            if state.failures and feed not in self._polling and state.due_at > self._clock.monotonic():
                self._push(feed, 0)

    def _start_removal(self, feed: Feed) -> None:
        """Make a removed feed due for its last poll.

        If that poll fails, the scheduler repeats it. The next call for this feed after a failure ends the repetition.
        """
        state = self._states[feed]
        if feed not in self._removing:
            self._removing.add(feed)
            state.failures = 0
            if feed in self._polling:
                state.poll_again = True
            else:
                self._push(feed, 0)
        elif state.failures:
            self._remove(feed)

    def _remove(self, feed: Feed) -> None:
        del self._states[feed]
        self._removing.discard(feed)

    def _release(self, feed: Feed) -> None:
        self._polling.discard(feed)
        self._changed.set()

    def _reschedule(self, feed: Feed, state: _FeedState, wait: float) -> float:
        if state.poll_again:
            wait = min(wait, max(0.0, state.poll_started_at + self._min_trigger_interval - self._clock.monotonic()))
        state.poll_again = False
        self._push(feed, wait)
        return wait

    def _push(self, feed: Feed, wait: float) -> None:
        sequence, due_at = next(self._sequences), self._clock.monotonic() + wait
        state = self._states[feed]
        state.sequence, state.due_at = sequence, due_at
        heapq.heappush(self._heap, (due_at, sequence, feed))
        self._changed.set()

    def _pop_due(self) -> tuple[Feed | None, float]:
        """Return a feed that may be polled now, or None and the seconds until one is due."""
        while self._heap and len(self._polling) < self._concurrency:
            at, sequence, feed = self._heap[0]
            state = self._states.get(feed)
            if state is None or state.sequence != sequence:
                heapq.heappop(self._heap)
                continue
            wait = at - self._clock.monotonic()
            if wait > 0:
                return None, wait
            heapq.heappop(self._heap)
            return feed, 0
        return None, self._max_interval
