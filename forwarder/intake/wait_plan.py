"""The state of one feed between its polls, and the waits that follow from it: intervals with jitter, and backoffs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from forwarder.backoff import jitter, max_wait
from forwarder.clock import Clock
from forwarder.intake.allocation import Demand
from forwarder.intake.poll_plan import IntervalReason, PollPlan, PollPlanner
from forwarder.model import Feed, FeedActivity
from forwarder.settings.sections import SourceSettings

MIN_JITTER, MAX_JITTER = 0.02, 0.1
"""The share of an interval by which a poll comes earlier, so that feeds which were added together separate.

The least share keeps a poll that waits for the request limit within its interval.
"""

MAX_FIRST_JITTER = 0.5
"""The largest share after the first poll. Many feeds may have been due at once, and would be so again."""

URGENT_SHARE = MAX_JITTER
"""The last share of the longest interval of a feed. In it, the feed is claimed before all others that are due."""

FIRST_ROUND_SHARE = 0.5
"""The share of all requests for the first polls after a start. The rest is for feeds that fail often."""

PAGES_WEIGHT = 0.2
"""The weight of the last poll in the recent number of pages per poll."""


@dataclass(slots=True)
class FeedState:
    """The demand and the times of one feed, in seconds.

    `pages` is the recent number of pages of a poll, and `full_scan_pages` that of the last full scan.
    `activity` and `plan` are None before the first poll, if the ledger has no activity of the feed. `poll_again`
    requests another poll after the current one, which began at `poll_started_at`.
    """

    activity: FeedActivity | None = None
    pages: float = 1.0
    full_scan_pages: int = 0
    plan: PollPlan | None = None
    due_at: float = 0.0
    poll_started_at: float = float("-inf")
    was_polled: bool = False
    poll_again: bool = False
    failed_polls: int = 0

    @property
    def failures_per_second(self) -> float:
        """Return the expected failures a second, or 0 before the first plan."""
        return self.plan.failures_per_second if self.plan else 0.0

    def record_pages(self, pages: int, *, is_full_scan: bool) -> None:
        """Save the pages of a poll.

        A full scan is due at its own interval, so its pages do not make the polls of the feed more expensive.
        """
        if is_full_scan:
            self.full_scan_pages = pages
        else:
            self.pages += PAGES_WEIGHT * (pages - self.pages)


class WaitPlanner:
    """A planner of the waits between polls. `states` are the states of all feeds, which share the requests."""

    def __init__(self, settings: SourceSettings, clock: Clock) -> None:
        self._min_interval = settings.min_interval.total_seconds()
        self._full_scan_interval = settings.full_scan_interval.total_seconds()
        self._first_round_interval = 1 / (FIRST_ROUND_SHARE * settings.requests_per_second)
        self._planner = PollPlanner(settings)
        self._next_allocation = float("-inf")
        self._clock = clock

    def limit_requests(self, requests_per_second: float) -> None:
        """Change the limit of requests for the next allocation."""
        self._planner.limit_requests(requests_per_second)
        self._first_round_interval = 1 / (FIRST_ROUND_SHARE * requests_per_second)
        self._next_allocation = float("-inf")

    def restore(self, restored: Mapping[Feed, FeedState], states: Collection[FeedState]) -> dict[Feed, float]:
        """Plan feeds with the activity of an earlier run. Return their waits, those that fail most often first."""
        plans: dict[Feed, PollPlan] = {}
        for _ in range(2):  # the share of failures is known after the first time, and the price after the second
            self._allocate(states)
            for feed, state in restored.items():
                if state.activity is not None:
                    plans[feed] = self._planner.plan(state.activity, state.pages, self._clock.now())
            for feed, plan in plans.items():
                restored[feed].plan = plan
        ordered = sorted(plans, key=lambda feed: -plans[feed].failures_per_second)
        return {feed: number * self._first_round_interval for number, feed in enumerate(ordered)}

    def wait_after_success(self, state: FeedState, activity: FeedActivity, states: Collection[FeedState]) -> float:
        """Plan the next poll of a feed that was polled. Return the seconds until it.

        The interval begins with the poll, because failures during a long poll are found by the next one.
        """
        max_jitter = MAX_JITTER if state.was_polled else MAX_FIRST_JITTER
        state.activity, state.failed_polls, state.was_polled = activity, 0, True
        if self._clock.monotonic() >= self._next_allocation:
            self._allocate(states)
        state.plan = self._planner.plan(activity, state.pages, self._clock.now())
        interval = state.plan.interval_seconds * (1 - jitter(max_jitter, floor=MIN_JITTER))
        return max(self._min_interval, interval - (self._clock.monotonic() - state.poll_started_at))

    def wait_after_failed_poll(self, state: FeedState, feeds: int) -> float:
        """Plan the next poll of a feed whose poll failed. Return the seconds until it.

        The backoff grows with each consecutive failure. It also grows with the number of feeds, because many feeds
        that cannot be read must not use the requests of the others.
        """
        longest = self._planner.longest_backoff(feeds)
        ceiling = max_wait(state.failed_polls + 1, base=self._min_interval, cap=longest)
        state.failed_polls += 1
        state.plan = PollPlan(ceiling, IntervalReason.ERROR, state.failures_per_second)
        return ceiling / 2 + jitter(ceiling / 2)

    def urgent_at(self, state: FeedState, feeds: int, now: float) -> float:
        """Return the time from which a feed is urgent, which is never before it is due. `feeds` is their number."""
        last_poll_at = state.poll_started_at if state.was_polled else now
        return max(state.due_at, last_poll_at + (1 - URGENT_SHARE) * self._planner.longest_interval(feeds))

    def shortened_waits(self, waiting: Mapping[Feed, FeedState], feeds: int) -> dict[Feed, float]:
        """Return new waits of the feeds whose wait is longer than the longest interval.

        The longest interval depends on the number of feeds, so it is shorter after a removal.
        """
        longest, now = self._planner.longest_interval(feeds), self._clock.monotonic()
        late = [
            (state.poll_started_at + longest, feed)
            for feed, state in waiting.items()
            if state.was_polled and state.due_at > state.poll_started_at + longest
        ]
        late.sort(key=lambda each: each[0])
        return {
            feed: max(number * self._first_round_interval, (1 - MAX_JITTER) * (until - now))
            for number, (until, feed) in enumerate(late)
        }

    def _allocate(self, states: Collection[FeedState]) -> None:
        """Allocate the requests to all feeds."""
        wait = self._planner.allocate(
            [Demand(each.failures_per_second, each.pages) for each in states],
            [each.activity for each in states if each.activity is not None],
            reserved_per_second=sum(each.full_scan_pages for each in states) / self._full_scan_interval,
        )
        self._next_allocation = self._clock.monotonic() + wait
