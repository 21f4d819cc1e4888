"""The simulation of the benchmark of detection: polls in virtual time, behind one limit of requests."""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from forwarder.rate_limit import RateLimiter
from tests.benchmarks.detection_loads import Load
from tests.benchmarks.detection_rules import PAGE_RECORDS, Rule, SimulatedClock

WINDOW_SECONDS = 60.0
"""The length of the windows in which requests are counted."""


@dataclass(frozen=True, slots=True)
class Detection:
    """The delays of all failures that were measured, sorted, in seconds, and the cost of their detection.

    A failure that was not detected until the end has the delay until then.
    """

    delays: Sequence[float]
    requests_per_second: float
    max_window_requests_per_second: float
    """The largest mean over any WINDOW_SECONDS, from the start on."""
    longest_wait_seconds: float
    """The longest time without a poll of a feed, within the time that was measured."""

    @property
    def mean(self) -> float:
        return sum(self.delays) / len(self.delays)

    def percentile(self, percent: int) -> float:
        return self.delays[min(len(self.delays) - 1, len(self.delays) * percent // 100)]


class WindowCounter:
    """The largest number of requests in any half-open window of WINDOW_SECONDS."""

    def __init__(self) -> None:
        self.maximum = 0
        self._times: deque[float] = deque()

    def count(self, time: float) -> None:
        self._times.append(time)
        # A sum of many intervals is not exact. Requests that are WINDOW_SECONDS apart are not in one window.
        while self._times[0] < time - WINDOW_SECONDS + 1e-6:
            self._times.popleft()
        self.maximum = max(self.maximum, len(self._times))


def simulate(
    load: Load,
    rule: Rule,
    clock: SimulatedClock,
    *,
    requests_per_second: float,
    measured_from: float,
    measured_until: float | None = None,
) -> Detection:
    """Return the detection of the failures that stop after `measured_from`, until `measured_until` or the end.

    A poll takes no time. It detects the failures of its feed that stopped before, and needs one request for each page.
    """
    until = load.seconds if measured_until is None else measured_until
    limiter = RateLimiter(clock, interval_seconds=1 / requests_per_second)
    windows = WindowCounter()
    seen, polled_at = [0] * load.feeds, [0.0] * load.feeds
    debts = [0.0] * load.feeds
    delays: list[float] = []
    requests, longest = 0, 0.0
    while clock.seconds < load.seconds:
        feed, wait = rule.next_due()
        if feed is None:
            clock.seconds += wait
            continue
        clock.seconds = now = limiter.take()
        windows.count(now)
        times = load.failures[feed]
        first, last = seen[feed], bisect_right(times, now, seen[feed])
        seen[feed] = last
        debts[feed] += load.executions_per_second[feed] * (now - polled_at[feed])
        executions = max(int(debts[feed]), last - first)
        debts[feed] -= executions
        pages = 1 + executions // PAGE_RECORDS
        for _ in range(pages - 1):
            clock.seconds = limiter.take()
            windows.count(clock.seconds)
        if now > measured_from:
            requests += pages
            delays += [now - time for time in times[first:last] if measured_from < time <= until]
            longest = max(longest, now - max(polled_at[feed], measured_from))
        polled_at[feed] = now
        rule.record(feed, executions, [now - time for time in times[first:last]], pages)
    for times, first in zip(load.failures, seen, strict=True):
        delays += [load.seconds - time for time in times[first:] if measured_from < time <= until]
    longest = max(longest, *(load.seconds - max(polled, measured_from) for polled in polled_at))
    return Detection(
        sorted(delays),
        requests / (load.seconds - measured_from),
        windows.maximum / WINDOW_SECONDS,
        longest,
    )
