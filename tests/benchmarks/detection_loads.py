"""The loads of the benchmark of detection: the failures of each feed in a day, and their true rates at any time."""

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

HOUR_SECONDS = 3600.0

MEDIAN_EXECUTIONS_PER_HOUR = 6.0
EXECUTION_SIGMA = 1.8
"""The parameters of the log-normal distribution of a feed's executions per hour."""

MAX_EXECUTIONS_PER_HOUR = 2000.0

RARE_SHARE, OFTEN_SHARE = 0.0025, 0.1
"""The shares of executions that fail in most feeds, and in one feed of OFTEN_EVERY."""

OFTEN_EVERY = 10

EVEN_FAILURES_PER_HOUR = 0.5

BURST_CHILDREN = 0.8
BURST_DECAY_SECONDS = 60.0
"""The self-exciting load: each failure causes BURST_CHILDREN others on average, after exponential times."""

HOT_SHARE, HOT_FACTOR = 0.05, 100.0
"""The changing load: this share of the feeds, another one each hour, fails HOT_FACTOR times as often."""


@dataclass(frozen=True, slots=True)
class Load:
    """A load of feeds over some seconds.

    `failures` has the sorted times of each feed. `executions_per_second` is that of each feed. `rate` returns the true
    failures per second of a feed at a time, from its failures before.
    """

    seconds: float
    failures: Sequence[Sequence[float]]
    executions_per_second: Sequence[float]
    rate: Callable[[int, float], float]
    is_stationary: bool

    @property
    def feeds(self) -> int:
        return len(self.failures)


def even(feeds: int, seconds: float, rng: random.Random) -> Load:
    rates = [EVEN_FAILURES_PER_HOUR / HOUR_SECONDS] * feeds
    return _steady(rates, [2 * rate for rate in rates], seconds, rng)


def mixed(feeds: int, seconds: float, rng: random.Random) -> Load:
    executions = _executions(feeds, rng)
    return _steady([rate * _share(feed) for feed, rate in enumerate(executions)], executions, seconds, rng)


def bursty(feeds: int, seconds: float, rng: random.Random) -> Load:
    """Return a load of Hawkes processes whose long-term rates are those of `mixed`."""
    executions = _executions(feeds, rng)
    base = [rate * _share(feed) * (1 - BURST_CHILDREN) for feed, rate in enumerate(executions)]
    failures = [_clusters(rate, seconds, rng) for rate in base]

    def rate(feed: int, now: float) -> float:
        excitation, times = 0.0, failures[feed]
        for index in range(bisect_right(times, now) - 1, -1, -1):
            age = now - times[index]
            if age > 10 * BURST_DECAY_SECONDS:
                break
            excitation += math.exp(-age / BURST_DECAY_SECONDS)
        return base[feed] + BURST_CHILDREN / BURST_DECAY_SECONDS * excitation

    return Load(seconds, failures, executions, rate, is_stationary=False)


def changing(feeds: int, seconds: float, rng: random.Random) -> Load:
    executions = _executions(feeds, rng)
    base = [rate * RARE_SHARE for rate in executions]
    hours = math.ceil(seconds / HOUR_SECONDS)
    hot = [frozenset(rng.sample(range(feeds), round(HOT_SHARE * feeds))) for _ in range(hours)]

    def rate(feed: int, now: float) -> float:
        is_hot = feed in hot[min(hours - 1, int(now / HOUR_SECONDS))]
        return base[feed] * (HOT_FACTOR if is_hot else 1)

    failures = []
    for feed in range(feeds):
        times: list[float] = []
        for hour in range(hours):
            start, end = hour * HOUR_SECONDS, min(seconds, (hour + 1) * HOUR_SECONDS)
            times += _poisson(rate(feed, start), start, end, rng)
        failures.append(times)
    return Load(seconds, failures, executions, rate, is_stationary=False)


LOADS: Mapping[str, Callable[[int, float, random.Random], Load]] = {
    "even": even,
    "mixed": mixed,
    "bursty": bursty,
    "changing": changing,
}


def _executions(feeds: int, rng: random.Random) -> list[float]:
    """Return the executions a second of each feed."""
    median = math.log(MEDIAN_EXECUTIONS_PER_HOUR)
    hourly = [min(MAX_EXECUTIONS_PER_HOUR, rng.lognormvariate(median, EXECUTION_SIGMA)) for _ in range(feeds)]
    return [rate / HOUR_SECONDS for rate in hourly]


def _share(feed: int) -> float:
    return RARE_SHARE if feed % OFTEN_EVERY else OFTEN_SHARE


def _steady(rates: Sequence[float], executions: Sequence[float], seconds: float, rng: random.Random) -> Load:
    failures = [_poisson(rate, 0.0, seconds, rng) for rate in rates]
    return Load(seconds, failures, executions, lambda feed, _: rates[feed], is_stationary=True)


def _poisson(rate: float, start: float, end: float, rng: random.Random) -> list[float]:
    times, now = [], start
    while rate > 0 and (now := now + rng.expovariate(rate)) < end:
        times.append(now)
    return times


def _clusters(base: float, seconds: float, rng: random.Random) -> list[float]:
    """Return the times of a Hawkes process: each failure of the base rate has children, and these have others."""
    waiting, times = _poisson(base, 0.0, seconds, rng), []
    while waiting:
        parent = waiting.pop()
        times.append(parent)
        threshold, product, children = math.exp(-BURST_CHILDREN), rng.random(), 0
        while product > threshold:  # Knuth's algorithm for a number with a Poisson distribution
            children, product = children + 1, product * rng.random()
        births = [parent + rng.expovariate(1 / BURST_DECAY_SECONDS) for _ in range(children)]
        waiting += [birth for birth in births if birth < seconds]
    return sorted(times)
