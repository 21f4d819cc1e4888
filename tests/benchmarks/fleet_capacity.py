"""The arithmetic of capacity: how far a fleet of processes goes, and which limit binds first.

A sample of workflows stands for a fleet of any size, with its share of the limit of requests. The intervals are those
of the scheduler's own allocation. docs/capacity.md states which of the figures are measured and which are assumed.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean

from forwarder.intake.allocation import Demand, Limits, find_price, interval_at
from tests.benchmarks.detection_loads import LOADS
from tests.benchmarks.detection_rules import PAGE_RECORDS, limits
from tests.factories import some_settings

SAMPLE_FEEDS, SEED = 2000, 1
SETTINGS = some_settings().source
HOUR_SECONDS = 3600.0

# Measured: docs/benchmarks.md. Ten pages a second take 2 % of a core.
PAGE_CORE_SECONDS = 0.02 / 10
SQLITE_FAILURES_PER_CORE_SECOND = 2500.0
# Measured with one process on dynalite: `make bench ONLY=fleet`.
DYNAMODB_FAILURES_PER_CORE_SECOND = 270.0

# AWS, "Amazon EventBridge quotas", read in November 2026. The quota counts requests, of a whole account in a Region.
PUT_EVENTS_REQUESTS_PER_SECOND = (
    dict.fromkeys(("us-east-1", "us-west-2", "eu-west-1"), 10_000)
    | dict.fromkeys(("us-east-2", "eu-central-1", "eu-south-2"), 2400)
    | dict.fromkeys(("us-west-1", "ap-northeast-1", "ap-southeast-1", "ap-southeast-2", "eu-west-2"), 1200)
    | dict.fromkeys(("ap-east-1", "ap-northeast-2", "ap-south-1", "ca-central-1"), 600)
    | dict.fromkeys(("eu-north-1", "eu-west-3", "sa-east-1"), 600)
)
SMALLEST_PUT_EVENTS_REQUESTS_PER_SECOND = 400
MAX_ENTRIES_PER_REQUEST = 10

# A journal is one partition key. AWS allows 1,000 write units a second for it: about 1,600 failures of 2 KB.
JOURNAL_FAILURES_PER_SECOND = 1600.0

ITERATIONS = 8
"""The steps in which intervals and requests per poll, which depend on each other, are found."""

API, PROCESSES, JOURNALS, PUT_EVENTS = "API limit", "CPU of the processes", "journals", "PutEvents"


@dataclass(frozen=True, slots=True)
class Sample:
    """The executions and the failures a second of each feed."""

    executions: tuple[float, ...]
    failures: tuple[float, ...]


@cache
def mixed_sample() -> Sample:
    """Return the assumed load: the mixed one of the benchmark of detection."""
    load = LOADS["mixed"](SAMPLE_FEEDS, 0.0, random.Random(SEED))  # noqa: S311  # a load needs no secrecy
    return Sample(tuple(load.executions_per_second), tuple(load.rate(feed, 0.0) for feed in range(load.feeds)))


@dataclass(frozen=True, slots=True)
class Scans:
    """The settings that decide how many requests the scans of a feed need."""

    overlap_seconds: float = SETTINGS.overlap.total_seconds()
    full_scan_seconds: float = SETTINGS.full_scan_interval.total_seconds()
    lateness_seconds: float = SETTINGS.max_lateness.total_seconds()


@dataclass(frozen=True, slots=True)
class Fleet:
    """A number of workflows, the processes that share them, and their settings. One process uses SQLite."""

    workflows: int
    processes: int = 1
    region: str = "us-east-1"
    requests_per_second: float = SETTINGS.requests_per_second
    scans: Scans = Scans()  # it is frozen
    dynamodb_failures_per_core_second: float = DYNAMODB_FAILURES_PER_CORE_SECOND

    @property
    def is_shared(self) -> bool:
        return self.processes > 1

    @property
    def failure_core_seconds(self) -> float:
        """Return the processor time of one failure, from its page to its settlement."""
        return 1 / (self.dynamodb_failures_per_core_second if self.is_shared else SQLITE_FAILURES_PER_CORE_SECOND)

    @property
    def failures_per_second(self) -> dict[str, float]:
        """Return the failures a second that each limit behind the API allows, if pages and requests are full."""
        quota = PUT_EVENTS_REQUESTS_PER_SECOND.get(self.region, SMALLEST_PUT_EVENTS_REQUESTS_PER_SECOND)
        return {
            PROCESSES: self.processes / (self.failure_core_seconds + PAGE_CORE_SECONDS / PAGE_RECORDS),
            JOURNALS: self.processes * JOURNAL_FAILURES_PER_SECOND if self.is_shared else math.inf,
            PUT_EVENTS: float(MAX_ENTRIES_PER_REQUEST * quota),
        }


@dataclass(frozen=True, slots=True)
class Polling:
    """The polls of a fleet. `wanted` and `least` are requests a second: without a limit, and at the longest intervals.

    The others are the mean time from a failure to its detection, the longest time between two polls, and the time by
    which polls are late. They are infinite if executions arrive faster than they can be listed.
    """

    wanted: float
    least: float
    delay_seconds: float
    longest_seconds: float
    late_seconds: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """The capacity of one fleet. `executions` and `failures` are rates a second in usual times.

    `drain_seconds` is the time from the end of an hour in which every execution fails until the last of its failures is
    on the bus, at most. `use` is the use of each limit in that hour: above 1, the fleet falls behind.
    """

    usual: Polling
    failing: Polling
    executions: float
    failures: float
    drain_seconds: float
    use: Mapping[str, float]

    @property
    def binding(self) -> str:
        """Return the limit that binds first as the load grows."""
        return max(self.use, key=lambda name: self.use[name])


def requests_per_poll(executions: float, interval_seconds: float, scans: Scans) -> float:
    """Return the mean requests of a poll of a feed with these executions a second. Some polls are full scans."""
    poll = requests_per_short_scan(
        executions * (interval_seconds + scans.overlap_seconds), executions * scans.overlap_seconds, PAGE_RECORDS
    )
    full_scan = requests_per_scan(executions * (interval_seconds + scans.lateness_seconds), PAGE_RECORDS)
    return poll + min(1.0, interval_seconds / scans.full_scan_seconds) * (full_scan - poll)


def requests_per_scan(executions: float, page_records: int) -> float:
    """Return the mean requests of a scan of so many executions: the pages with them, and one below that ends it."""
    return 1 + max(1.0, 0.5 + executions / page_records)


def requests_per_short_scan(executions: float, executions_per_overlap: float, page_records: int) -> float:
    """Return the mean requests of a poll that is no full scan, of so many executions down to the overlap.

    It also ends with a page whose last execution is older by one more overlap. A poll of few executions has one page.
    """
    pages = max(1.0, 0.5 + (executions + executions_per_overlap) / page_records)
    return min(pages, requests_per_scan(executions, page_records))


@cache
def planned_intervals(sample: Sample, scans: Scans, bounds: Limits) -> Sequence[float]:
    """Return the interval of each feed of the sample in seconds, as the scheduler allocates them."""
    shortest, longest = bounds.min_interval_seconds, bounds.longest_interval(len(sample.executions))
    intervals = [longest] * len(sample.executions)
    for _ in range(ITERATIONS):
        feeds = zip(sample.failures, sample.executions, intervals, strict=True)
        demands = [Demand(rate, requests_per_poll(executions, each, scans)) for rate, executions, each in feeds]
        price = find_price(demands, bounds)
        intervals = [interval_at(demand, price, shortest, longest) for demand in demands]
    return intervals


def polling(fleet: Fleet, sample: Sample, failure_cores: float, max_late_seconds: float = math.inf) -> Polling:
    """Return the polls of a fleet whose processes need so many cores for failures, and the other cores for pages.

    If the planned polls need more requests than there can be, all of them come late by the same time, because the
    scheduler serves them in the order in which they are due.
    """
    scale = len(sample.executions) / fleet.workflows
    bounds = replace(limits(SETTINGS), requests_per_second=scale * fleet.requests_per_second)
    page_cores = max(0.0, fleet.processes - failure_cores)
    available = scale * min(fleet.requests_per_second, page_cores / PAGE_CORE_SECONDS)

    def requests(intervals: Sequence[float], late: float = 0.0) -> float:
        feeds = zip(sample.executions, intervals, strict=True)
        return sum(
            requests_per_poll(each, interval + late, fleet.scans) / (interval + late) for each, interval in feeds
        )

    intervals = planned_intervals(sample, fleet.scans, bounds)
    full_pages = sum(sample.executions) / PAGE_RECORDS
    late = min(max_late_seconds, find_late(lambda seconds: requests(intervals, seconds), available, full_pages))
    delays = [rate * (interval + late) / 2 for rate, interval in zip(sample.failures, intervals, strict=True)]
    unlimited = planned_intervals(sample, fleet.scans, replace(bounds, requests_per_second=math.inf))
    slowest = [bounds.longest_interval(len(intervals))] * len(intervals)
    return Polling(
        wanted=requests(unlimited) / scale,
        least=requests(slowest) / scale,
        delay_seconds=sum(delays) / sum(sample.failures),
        longest_seconds=max(intervals) + late,
        late_seconds=late,
    )


def find_late(requests_at: Callable[[float], float], available: float, full_pages: float) -> float:
    """Return the seconds by which polls are late, so that they need at most the available requests a second.

    `full_pages` is the rate of requests at which every page is full, which no delay can undercut.
    """
    if requests_at(0.0) <= available:
        return 0.0
    if full_pages >= available:
        return math.inf
    low, high = 0.0, 1.0
    while requests_at(high) > available:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (middle, high) if requests_at(middle) > available else (low, middle)
    return high


@cache
def evaluate(fleet: Fleet, sample: Sample) -> Capacity:
    """Return the capacity of a fleet. The rate of executions is the same before, in and after the hour of failures."""
    executions, failures = (fleet.workflows * fmean(rates) for rates in (sample.executions, sample.failures))
    usual = polling(fleet, sample, failures * fleet.failure_core_seconds)
    # In an hour, polls can become late by an hour at most.
    most_late = usual.late_seconds + HOUR_SECONDS
    failure_cores = executions * fleet.failure_core_seconds
    failing = polling(fleet, replace(sample, failures=sample.executions), failure_cores, most_late)
    allowed = fleet.failures_per_second
    slowest = min(allowed.values())
    backlog = HOUR_SECONDS * max(0.0, executions - slowest)
    use = {name: executions / each for name, each in allowed.items()}
    use[API] = usual.least / fleet.requests_per_second
    use[PROCESSES] = (usual.least * PAGE_CORE_SECONDS + failure_cores) / fleet.processes
    sending = backlog / (slowest - failures) if slowest > failures else math.inf
    return Capacity(usual, failing, executions, failures, failing.longest_seconds + sending, use)
