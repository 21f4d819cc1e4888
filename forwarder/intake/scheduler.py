"""The schedule of the feeds. A feed that fails often is polled often, within the limit of requests.

`forwarder.intake.wait_plan` computes the waits, and `forwarder.intake.due_feeds` keeps the order of the polls.
"""

import asyncio
from collections.abc import Iterable, Mapping

from forwarder import heartbeat
from forwarder.clock import Clock
from forwarder.intake.claims import Claims
from forwarder.intake.due_feeds import DueFeeds
from forwarder.intake.poll_plan import PollPlan
from forwarder.intake.trigger_limit import TriggerLimit
from forwarder.intake.wait_plan import FeedState, WaitPlanner
from forwarder.model import Feed, FeedActivity
from forwarder.settings.sections import SourceSettings


class Scheduler:
    """The scheduler of feeds. One reader claims a feed at a time, and at most `concurrency` of them do short scans."""

    def __init__(self, settings: SourceSettings, clock: Clock) -> None:
        self._max_interval = settings.max_interval.total_seconds()
        self._planner = WaitPlanner(settings, clock)
        self._trigger_limit = TriggerLimit(settings, clock)
        self._clock = clock
        self._states: dict[Feed, FeedState] = {}
        self._removing: set[Feed] = set()
        self._elsewhere: frozenset[Feed] = frozenset()
        self._claims = Claims(settings.concurrency)
        self._due_feeds = DueFeeds()
        self._changed = asyncio.Event()

    def watch(self, feeds: Iterable[Feed], elsewhere: Iterable[Feed] = ()) -> None:
        """Watch exactly these feeds. New ones are due at once. Removed ones are polled once more.

        Another process polls the feeds `elsewhere`. They are polled here after a trigger only.
        """
        wanted = dict.fromkeys(feeds)
        self._elsewhere = frozenset(elsewhere)
        self._removing.difference_update(wanted)
        for feed in [feed for feed in self._states if feed not in wanted]:
            self._start_removal(feed)
        self._shorten_waits()
        for feed in wanted:
            if feed not in self._states:
                self._states[feed] = FeedState()
                if feed not in self._claims:  # otherwise it was added again during its last poll
                    self._push(feed, 0)

    def limit_requests(self, requests_per_second: float) -> None:
        """Change the limit of requests, of which several processes each have a part."""
        self._planner.limit_requests(requests_per_second)
        self._trigger_limit.limit_requests(requests_per_second)

    def restore(self, activities: Mapping[Feed, FeedActivity]) -> None:
        """Plan the feeds that were not polled yet by the activities of an earlier run.

        The feeds that fail most often are due first. New feeds are due before all of them.
        """
        claimed_or_removed = self._claims.feeds | self._removing
        restored = {
            feed: state
            for feed, state in self._states.items()
            if state.activity is None and feed in activities and feed not in claimed_or_removed
        }
        if not restored:
            return
        for feed, state in restored.items():
            state.activity = activities[feed]
        for feed, wait in self._planner.restore(restored, self._states.values()).items():
            self._push(feed, wait)

    def reset(self) -> None:
        """Make the claimed feeds due again, and end their claims. No reader may be running."""
        for feed in self._claims.feeds & self._states.keys():
            self._push(feed, 0)
        self._claims.clear()

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
            feed, wait = self.claim_due()
            if feed is not None:
                return feed
            heartbeat.beat(wait)
            await self._clock.wait(self._changed, wait)

    def claim_due(self) -> tuple[Feed | None, float]:
        """Claim and return a feed that may be polled now, or return None and the seconds until one is due.

        If polls are late, a feed that would wait longer than its longest interval comes before all others.
        """
        if self._claims.are_exhausted:
            return None, self._max_interval
        now = self._clock.monotonic()
        if (feed := self._due_feeds.claim(now)) is not None:
            self._claims.add(feed)
            self._states[feed].poll_started_at = now
            return feed, 0
        next_due_at = self._due_feeds.next_due_at()
        return None, self._max_interval if next_due_at is None else next_due_at - now

    def record_long_scan(self, feed: Feed) -> None:
        """Let another feed be claimed although the scan of this claimed one continues."""
        self._claims.record_long_scan(feed)
        self._changed.set()

    def plan(self, feed: Feed) -> PollPlan | None:
        """Return the plan of a feed, or None before its first poll, unless its activity was restored."""
        state = self._states.get(feed)
        return state.plan if state else None

    def record_success(
        self, feed: Feed, activity: FeedActivity, pages: int, *, is_full_scan: bool = False
    ) -> float | None:
        """End a claim after a poll of `pages` pages. Return the seconds until the next poll, or None without one."""
        self._release(feed)
        state = self._states.get(feed)
        if state is None:
            return None
        if feed in self._removing and not state.poll_again:
            self._remove(feed)
            return None
        state.record_pages(pages, is_full_scan=is_full_scan)
        return self._reschedule(feed, state, self._planner.wait_after_success(state, activity, self._states.values()))

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
        state.poll_again = False
        return self._reschedule(feed, state, self._planner.wait_after_failed_poll(state, len(self._states)))

    def trigger(self, workflow_id: str, user_id: str | None = None) -> list[Feed]:
        """Make the feeds of a workflow due, and return them. With `user_id`, skip the feeds of other users."""
        feeds = [
            feed
            for feed in [*self._states, *(self._elsewhere - self._states.keys())]
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
        if state is None and feed in self._elsewhere and feed not in self._claims:
            self._schedule_single_poll(feed)
        if state is None or state.failed_polls or state.poll_again or feed in self._removing:
            return
        at = self._trigger_limit.next_poll_at(state)
        if feed in self._claims:
            state.poll_again = True
        elif at < state.due_at:
            self._push(feed, at - self._clock.monotonic())
        else:
            return
        self._trigger_limit.take()

    @property
    def retry_seconds(self) -> float | None:
        """Return the time until the next poll of a feed whose last poll failed, or None if no feed waits for one."""
        waiting = (state for feed, state in self._states.items() if state.failed_polls and feed not in self._claims)
        due_at = min((state.due_at for state in waiting), default=None)
        return None if due_at is None else max(0.0, due_at - self._clock.monotonic())

    def retry_now(self) -> None:
        """Make every feed due whose last poll failed. This does not reset the backoff."""
        for feed, state in list(self._states.items()):
            if state.failed_polls and feed not in self._claims and state.due_at > self._clock.monotonic():
                self._push(feed, 0)

    def _shorten_waits(self) -> None:
        """Make the feeds due whose wait is longer than the longest interval, which is shorter after a removal."""
        claimed_or_removed = self._claims.feeds | self._removing
        waiting = {feed: state for feed, state in self._states.items() if feed not in claimed_or_removed}
        for feed, wait in self._planner.shortened_waits(waiting, len(self)).items():
            self._push(feed, wait)

    def _start_removal(self, feed: Feed) -> None:
        """Make a removed feed due for its last poll.

        If that poll fails, it is retried. If the feed is still being retried at the next call, it is removed at once.
        """
        state = self._states[feed]
        if feed not in self._removing:
            self._removing.add(feed)
            state.failed_polls = 0
            if feed in self._claims:
                state.poll_again = True
            else:
                self._push(feed, 0)
        elif state.failed_polls:
            self._remove(feed)

    def _schedule_single_poll(self, feed: Feed) -> None:
        """Poll a feed that another process watches, as soon as the limit of triggers allows."""
        state = self._states[feed] = FeedState()
        self._removing.add(feed)
        self._push(feed, self._trigger_limit.next_poll_at(state) - self._clock.monotonic())
        self._trigger_limit.take()

    def _remove(self, feed: Feed) -> None:
        del self._states[feed]
        self._due_feeds.remove(feed)
        self._removing.discard(feed)

    def _release(self, feed: Feed) -> None:
        self._claims.release(feed)
        self._changed.set()

    def _reschedule(self, feed: Feed, state: FeedState, wait: float) -> float:
        if state.poll_again:
            wait = min(wait, max(0.0, self._trigger_limit.repeated_poll_at(state) - self._clock.monotonic()))
        state.poll_again = False
        self._push(feed, wait)
        return wait

    def _push(self, feed: Feed, wait: float) -> None:
        now, state = self._clock.monotonic(), self._states[feed]
        state.due_at = now + wait
        self._due_feeds.push(feed, state.due_at, self._planner.urgent_at(state, len(self._states), now))
        self._changed.set()
