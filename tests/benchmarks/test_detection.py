"""The simulation of the benchmark of detection, in cases whose result is known."""

import math
import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from tests.benchmarks.bench_detection import ARRIVALS, ORACLE, SCHEDULER, Case, measure
from tests.benchmarks.detection_loads import LOADS, Load
from tests.benchmarks.detection_rules import SchedulerRule, SimulatedClock, round_robin
from tests.benchmarks.detection_simulation import simulate
from tests.factories import some_settings

HOUR = 3600.0


class WatchingClock(SimulatedClock):
    """A clock that records each time to which it is set."""

    def __init__(self) -> None:
        self.times: list[float] = []
        super().__init__()

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "seconds" and isinstance(value, float):
            self.times.append(value)


def some_load(name: str, feeds: int = 20, seconds: float = HOUR, seed: int = 1) -> Load:
    return LOADS[name](feeds, seconds, random.Random(seed))  # noqa: S311  # a load needs no secrecy


@pytest.mark.parametrize("interval", [pytest.param(10.0, marks=pytest.mark.long), 60.0])
def test_delay_of_regular_polls_is_half_of_the_interval(interval: float) -> None:
    load, clock = some_load("even", feeds=60, seconds=24 * HOUR), SimulatedClock()
    rule = round_robin(load, clock, requests_per_second=60 / interval)
    found = simulate(load, rule, clock, requests_per_second=1000, measured_from=HOUR)
    assert found.mean == pytest.approx(interval / 2, rel=0.1)
    assert found.requests_per_second == pytest.approx(60 / interval, rel=0.05)
    assert found.longest_wait_seconds == pytest.approx(interval, rel=0.05)


def test_requests_never_exceed_their_limit() -> None:
    load, clock = some_load("mixed"), WatchingClock()
    found = simulate(load, round_robin(load, clock, 100.0), clock, requests_per_second=5, measured_from=HOUR / 2)
    assert found.requests_per_second <= 5.01
    assert found.max_window_requests_per_second == 5
    polls = [after - before for before, after in pairwise(clock.times[100:])]
    assert min(each for each in polls if each > 0) >= 0.2 - 1e-6


class NeverAgainRule:
    """A rule that polls feed 0 once, and another feed every minute."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self._due_at = {0: 0.0, 1: 0.0}

    def next_due(self) -> tuple[int | None, float]:
        feed = min(self._due_at, key=self._due_at.__getitem__)
        wait = self._due_at[feed] - self._clock.seconds
        return (feed, 0.0) if wait <= 0 else (None, wait)

    def record(self, feed: int, executions: int, failure_ages: Sequence[float], pages: int) -> None:  # noqa: ARG002  # a Rule
        self._due_at[feed] = self._clock.seconds + (math.inf if feed == 0 else 60.0)


def steady_load(*failures: Sequence[float], seconds: float = 2 * HOUR) -> Load:
    return Load(seconds, failures, [0.0] * len(failures), lambda _feed, _now: 0.0, is_stationary=True)


def test_wait_of_a_feed_that_is_never_polled_again_counts() -> None:
    clock = SimulatedClock()
    found = simulate(steady_load([], []), NeverAgainRule(clock), clock, requests_per_second=10, measured_from=HOUR)
    assert found.longest_wait_seconds == pytest.approx(HOUR)


def test_undetected_failure_has_the_delay_until_the_end() -> None:
    clock, load = SimulatedClock(), steady_load([HOUR + 600], [HOUR + 610])
    found = simulate(load, NeverAgainRule(clock), clock, requests_per_second=10, measured_from=HOUR)
    assert list(found.delays) == pytest.approx([50.0, HOUR - 600], abs=1)


def test_failures_after_the_measured_time_do_not_count() -> None:
    clock, load = SimulatedClock(), steady_load([], [HOUR - 1, HOUR + 30, HOUR + 90])
    rule = NeverAgainRule(clock)
    found = simulate(load, rule, clock, requests_per_second=10, measured_from=HOUR, measured_until=HOUR + 60)
    assert list(found.delays) == pytest.approx([30.0], abs=1)


@pytest.mark.parametrize("name", sorted(LOADS))
def test_load_of_a_seed_is_always_the_same(name: str) -> None:
    first, second, other = some_load(name), some_load(name), some_load(name, seed=2)
    assert first.failures == second.failures
    assert first.failures != other.failures
    assert all(list(times) == sorted(times) for times in first.failures)


@pytest.mark.parametrize("name", sorted(LOADS))
def test_true_rates_explain_the_number_of_failures(name: str) -> None:
    load = some_load(name, feeds=100, seconds=24 * HOUR)
    step = 60.0
    moments = [minute * step for minute in range(int(load.seconds / step))]
    expected = sum(load.rate(feed, moment) * step for feed in range(load.feeds) for moment in moments)
    assert sum(len(times) for times in load.failures) == pytest.approx(expected, rel=0.25)


def test_scheduler_detects_a_load_always_the_same() -> None:
    """Another jitter changes the mean delay of a short load by more than the difference to the oracle."""
    load, settings = some_load("mixed"), some_settings().source

    def delays() -> Sequence[float]:
        clock = SimulatedClock()
        rule = SchedulerRule(load, settings, clock)
        return simulate(load, rule, clock, requests_per_second=5, measured_from=0).delays

    assert delays() == delays() != []


def test_every_rule_detects_every_failure_of_a_load() -> None:
    """The oracle is best, and the scheduler is better than the rule that follows executions."""
    figures = measure(Case("mixed", 50, 20, 9 * HOUR), seed=1)
    assert len({len(each.delays) for each in figures.values()}) == 1
    assert figures[SCHEDULER].mean < figures[ARRIVALS].mean / 2
    assert figures[ORACLE].mean <= figures[SCHEDULER].mean * 1.1
