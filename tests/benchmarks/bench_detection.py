"""Detection: from the stop of a failed execution to the poll that lists it, in virtual time.

The real scheduler and three other rules poll the same seeded loads behind the same limit of requests. Round robin and
the oracle use as many requests as the scheduler did. The oracle knows the true rates of failures at each moment, and
obeys the same bounds. A run covers 24 hours. The first 6 are not measured, nor are the failures that stop within the
longest interval before the end. Without `--full`, it covers 8 hours without the first 3, so that the benchmark ends
well within a minute.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from statistics import fmean

from tests.benchmarks.bench import Bench
from tests.benchmarks.detection_loads import LOADS
from tests.benchmarks.detection_rules import (
    Rule,
    SchedulerRule,
    SimulatedClock,
    arrivals,
    limits,
    oracle,
    oracle_price,
    round_robin,
)
from tests.benchmarks.detection_simulation import Detection, simulate
from tests.factories import some_settings

GOALS = (9,)

SECONDS, MEASURED_FROM = 24 * 3600.0, 6 * 3600.0
SHORT_SECONDS, SHORT_MEASURED_FROM = 8 * 3600.0, 3 * 3600.0

SEEDS = (1, 2, 3, 4, 5)
CAPS = (20, 5)
SIZES = (200, 1000, 2400, 10_000)

MAX_RATIOS = {"even": 1.3, "mixed": 1.3, "bursty": 1.6}
"""The largest mean delay of the scheduler, in means of the oracle, by load."""

MAX_PRICE_STEPS, PRICE_TOLERANCE = 3, 0.02
"""The simulations that adapt the price of the oracle, until its requests differ from the scheduler's by this share."""

SCHEDULER, ROUND_ROBIN, ARRIVALS, ORACLE = "scheduler", "round robin", "rule of 0.1", "oracle"


@dataclass(frozen=True, slots=True)
class Case:
    load: str
    feeds: int
    cap: int
    seconds: float = SECONDS
    measured_from: float = MEASURED_FROM

    def __str__(self) -> str:
        return f"{self.load}, {self.feeds:,} feeds, {self.cap} requests/s"


Figures = Mapping[str, Detection]
"""The detection of each rule."""

SHORT_CASES = (
    *(Case(load, 200, 20, SHORT_SECONDS, SHORT_MEASURED_FROM) for load in LOADS),
    *(Case("mixed", feeds, 5, SHORT_SECONDS, SHORT_MEASURED_FROM) for feeds in (200, 2400)),
)
"""The cases that measure every goal in less than a minute, each with one seed."""


def run(bench: Bench) -> None:
    if bench.full:
        cases, seeds = [Case(*each) for each in product(LOADS, SIZES, CAPS)], list(SEEDS)
    else:
        cases, seeds = [case for case in SHORT_CASES if not bench.quick or case.feeds == SIZES[0]], [SEEDS[0]]
    bench.note(f"{len(cases)} of {len(LOADS) * len(SIZES) * len(CAPS)} cases, {len(seeds)} of {len(SEEDS)} seeds")
    jobs = [(case, seed) for case in sorted(cases, key=lambda each: -each.feeds) for seed in seeds]
    figures: dict[Case, list[Figures]] = {case: [] for case in cases}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for (case, _), found in zip(jobs, pool.map(measure, *zip(*jobs, strict=True)), strict=True):
            figures[case].append(found)
            if len(figures[case]) == len(seeds):  # a long run reports each case at once
                _report(bench, case, figures[case])
    _draw(bench, figures)


def measure(case: Case, seed: int) -> Figures:
    """Return the detection of every rule for one load."""
    settings = some_settings(source={"requests_per_second": case.cap}).source
    load = LOADS[case.load](case.feeds, case.seconds, random.Random(seed))  # noqa: S311  # a load needs no secrecy

    def detect(rule: Callable[[SimulatedClock], Rule]) -> Detection:
        clock = SimulatedClock()
        return simulate(
            load,
            rule(clock),
            clock,
            requests_per_second=case.cap,
            measured_from=case.measured_from,
            # A poll may come this late. Without the limit, only the failures that are found early would be measured.
            measured_until=case.seconds - limits(settings).longest_interval(case.feeds),
        )

    scheduler = detect(lambda clock: SchedulerRule(load, settings, clock))
    spent = scheduler.requests_per_second
    price = oracle_price(load, settings, spent)
    best = detect(lambda clock: oracle(load, settings, clock, price))
    for _ in range(MAX_PRICE_STEPS):
        if abs(best.requests_per_second / spent - 1) < PRICE_TOLERANCE:
            break
        price *= (best.requests_per_second / spent) ** 2
        best = detect(lambda clock, price=price: oracle(load, settings, clock, price))  # type: ignore[misc]  # a bound value
    return {
        SCHEDULER: scheduler,
        ORACLE: best,
        ROUND_ROBIN: detect(lambda clock: round_robin(load, clock, spent)),
        ARRIVALS: detect(lambda clock: arrivals(load, settings, clock)),
    }


def _report(bench: Bench, case: Case, figures: Sequence[Figures]) -> None:
    """Report one case, as means over the seeds, and its goals."""
    settings = some_settings(source={"requests_per_second": case.cap}).source
    mean = {rule: fmean(each[rule].mean for each in figures) for rule in figures[0]}
    requests = {rule: fmean(each[rule].requests_per_second for each in figures) for rule in figures[0]}
    longest = max(each[SCHEDULER].longest_wait_seconds for each in figures)
    busiest = max(each[SCHEDULER].max_window_requests_per_second for each in figures)
    rows = [
        [
            rule,
            f"{mean[rule]:.1f}",
            *(f"{fmean(each[rule].percentile(percent) for each in figures):.1f}" for percent in (50, 95)),
            f"{requests[rule]:.2f}",
            f"{max(each[rule].longest_wait_seconds for each in figures):.0f}",
            f"{mean[SCHEDULER] / mean[rule]:.2f} ×",
        ]
        for rule in mean
    ]
    bench.table(
        f"{case} (seconds)", ["", "mean", "p50", "p95", "requests/s", "longest wait", f"{SCHEDULER} to it"], rows
    )
    if case.load in MAX_RATIOS:
        ratio = mean[SCHEDULER] / mean[ORACLE]
        bench.goal(9, f"{case}: mean, in means of the oracle", ratio, at_most=MAX_RATIOS[case.load])
    if case.load == "mixed" and (case.feeds >= SIZES[2] or (case.feeds, case.cap) == (SIZES[0], CAPS[0])):
        bench.goal(9, f"{case}: mean of the rule of 0.1, in means", mean[ARRIVALS] / mean[SCHEDULER], at_least=3)
    if case.load == "mixed" and case.feeds == SIZES[0]:
        spent = requests[SCHEDULER] / requests[ARRIVALS]
        bench.goal(9, f"{case}: requests, in those of the rule of 0.1", spent, at_most=2)
    bench.goal(9, f"{case}: requests a second", requests[SCHEDULER], unit="/s", at_most=case.cap)
    bench.goal(9, f"{case}: requests a second, in the busiest minute", busiest, unit="/s", at_most=case.cap)
    bound = limits(settings).longest_interval(case.feeds)
    bench.goal(9, f"{case}: longest wait of a feed", longest, unit="s", at_most=bound)


def _draw(bench: Bench, figures: Mapping[Case, Sequence[Figures]]) -> None:
    """Draw the mean delay by the number of feeds, for each load and limit that was simulated at several sizes."""
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for load, cap in product(LOADS, CAPS):
        cases = [case for case in figures if (case.load, case.cap) == (load, cap)]
        if len(cases) > 1:  # a line has two points
            panels[f"{load}, {cap} requests/s"] = {
                rule: [(float(case.feeds), fmean(each[rule].mean for each in figures[case])) for case in cases]
                for rule in (SCHEDULER, ORACLE, ROUND_ROBIN, ARRIVALS)
            }
    if panels:
        bench.small_multiples("Mean delay by load", "feeds", "s", panels)
