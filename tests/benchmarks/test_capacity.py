"""The arithmetic of capacity: by hand, against the real reader and scheduler, and in the right direction."""

import math
import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from forwarder.rate_limit import RateLimiter
from tests.benchmarks.bench_capacity import FLEETS, dollars, duration, percent
from tests.benchmarks.detection_loads import LOADS, Load
from tests.benchmarks.detection_rules import PAGE_RECORDS, SchedulerRule, SimulatedClock
from tests.benchmarks.fleet_capacity import (
    API,
    HOUR_SECONDS,
    JOURNALS,
    PAGE_CORE_SECONDS,
    PROCESSES,
    PUT_EVENTS,
    Capacity,
    Fleet,
    Sample,
    Scans,
    evaluate,
    find_late,
    mixed_sample,
    requests_per_poll,
    requests_per_scan,
    requests_per_short_scan,
)
from tests.benchmarks.fleet_costs import HEARTBEAT_SECONDS, costs
from tests.doc_generator import DOCS
from tests.factories import some_settings
from tests.fakes.alloy import FakeAlloy
from tests.intake.conftest import alloy
from tests.intake.reader_harness import reader_harness

__all__ = ["alloy"]

FIRST_PAGES_ONLY = Scans(overlap_seconds=0.0, full_scan_seconds=math.inf)


def equal_feeds(executions_per_hour: float, failures_per_hour: float) -> Sample:
    return Sample((executions_per_hour / HOUR_SECONDS,) * 10, (failures_per_hour / HOUR_SECONDS,) * 10)


def mixed(workflows: int, processes: int = 1, **changes: float) -> Capacity:
    fleet = replace(Fleet(workflows, processes), **changes)  # type: ignore[arg-type]  # every change is a number
    return evaluate(fleet, mixed_sample())


def test_hourly_failures_are_detected_as_computed_by_hand() -> None:
    """A poll needs one request, so the interval is 20 s, and a thousand feeds need a thousand requests in it."""
    found = evaluate(Fleet(1000, requests_per_second=1000, scans=FIRST_PAGES_ONLY), equal_feeds(1, 1)).usual
    assert found.delay_seconds == pytest.approx(20 / 2, rel=1e-3)
    assert found.wanted == pytest.approx(1000 / 20, rel=1e-3)
    assert found.least == pytest.approx(1000 / 120, rel=1e-3)
    assert found.longest_seconds == pytest.approx(20, rel=1e-3)


def test_full_scans_are_counted_as_computed_by_hand() -> None:
    """With 30 executions an hour, a full scan of a day needs 25.5 pages and one more, every hour; a poll needs one."""
    assert requests_per_poll(30 / HOUR_SECONDS, 60.0, Scans()) == pytest.approx(
        1 + (1 + 0.5 + 24 + 1 / 60 - 1) / 60, rel=1e-3
    )
    assert requests_per_poll(30 / HOUR_SECONDS, 2 * HOUR_SECONDS, Scans()) == pytest.approx(1.5 + 26)


def test_failures_above_the_quota_drain_as_computed_by_hand() -> None:
    """5,000 failures a second against 4,000 leave 3.6 million, of which 3,950 leave a second if 50 others arrive."""
    fleet = Fleet(5000, 50, "af-south-1", 1000, FIRST_PAGES_ONLY, 2500)
    found = evaluate(fleet, equal_feeds(3600, 36))
    assert (found.executions, found.failures) == pytest.approx((5000, 50))
    assert found.drain_seconds - found.failing.longest_seconds == pytest.approx(3.6e6 / 3950)
    assert (found.binding, found.use[PUT_EVENTS]) == (PUT_EVENTS, 1.25)


def test_dollars_are_those_computed_by_hand() -> None:
    """A thousand workflows fail once an hour: 720,000 failures a month. Two processes share the ledger."""
    one, two = (costs(Fleet(1000, processes), equal_feeds(1, 1)) for processes in (1, 2))
    assert one.events == pytest.approx(0.72)
    assert (one.idle_ledger, one.failures_ledger) == (0, 0)
    assert two.hosts == pytest.approx(2 * 720 * (0.04048 + 2 * 0.004445))
    assert two.failures_ledger == pytest.approx(0.72 * (3 * 0.625 + 0.36))
    heartbeats, checkpoints = 2 * 30 * 86_400 / HEARTBEAT_SECONDS, 720_000
    assert two.idle_ledger == pytest.approx((heartbeats * (0.625 + 0.0625) + checkpoints * 0.625) / 1e6)
    assert two.month == pytest.approx(two.hosts + two.idle_ledger + two.failures_ledger + two.events)
    assert two.failing_hour == 0, "every execution of this load fails in usual times too"


def steady(workflows: int, processes: int, region: str, failures_per_core_second: float) -> Capacity:
    """Return the capacity of a fleet in which each workflow has one execution a second."""
    fleet = Fleet(workflows, processes, region, 1000, FIRST_PAGES_ONLY, failures_per_core_second)
    return evaluate(fleet, equal_feeds(3600, 1))


@pytest.mark.parametrize(
    ("binding", "found"),
    [
        (API, lambda: mixed(10_000)),
        (PROCESSES, lambda: mixed(100_000, requests_per_second=1000)),
        (PROCESSES, lambda: steady(2000, 2, "us-east-1", 360)),
        (JOURNALS, lambda: steady(4000, 2, "us-east-1", 9000)),
        (PUT_EVENTS, lambda: steady(4000, 4, "af-south-1", 9000)),
    ],
)
def test_binding_limit_changes_with_the_fleet(binding: str, found: Callable[[], Capacity]) -> None:
    capacity = found()
    assert capacity.binding == binding
    assert capacity.use[binding] >= 1
    assert all(use < capacity.use[binding] for name, use in capacity.use.items() if name != binding)


def test_more_workflows_are_detected_later() -> None:
    delays = [mixed(workflows).usual.delay_seconds for workflows in (100, 1000, 2000, 5000, 20_000, 100_000)]
    assert delays == sorted(delays)
    assert math.isinf(delays[-1]), "780 executions a second do not fit on 20 pages of 30"


def test_higher_request_limit_detects_and_drains_sooner() -> None:
    found = [mixed(10_000, requests_per_second=limit) for limit in (20, 50, 100, 200, 1000)]
    assert all(after.usual.delay_seconds <= before.usual.delay_seconds for before, after in pairwise(found))
    assert all(after.drain_seconds <= before.drain_seconds for before, after in pairwise(found))


def test_more_processes_drain_no_later_and_cost_more() -> None:
    fleets = [Fleet(100_000, processes, requests_per_second=1000) for processes in (2, 4, 10, 50)]
    drained = [evaluate(fleet, mixed_sample()).drain_seconds for fleet in fleets]
    assert drained == sorted(drained, reverse=True)
    assert drained[0] > 2 * drained[-1]
    months = [costs(fleet, mixed_sample()).month for fleet in fleets]
    assert months == sorted(months)


def test_workflows_and_limit_scale_together() -> None:
    small, large = mixed(1000, requests_per_second=50), mixed(10_000, requests_per_second=500)
    assert large.usual.delay_seconds == pytest.approx(small.usual.delay_seconds)
    assert large.usual.wanted == pytest.approx(10 * small.usual.wanted)


def test_late_polls_need_just_the_available_requests() -> None:
    assert find_late(lambda late: 100 / (10 + late), 20.0, 0.0) == 0
    assert find_late(lambda late: 100 / (10 + late), 2.0, 0.0) == pytest.approx(40, abs=1)
    assert math.isinf(find_late(lambda late: 5 + 100 / (10 + late), 5.0, 5.0))


@pytest.mark.parametrize("executions_per_hour", [4, 60, 200])
async def test_reader_needs_the_requests_that_are_assumed(
    alloy: FakeAlloy, tmp_path: Path, executions_per_hour: int
) -> None:
    """Pages of three executions, an overlap of ten minutes and full scans of two hours, after an interval of five."""
    step = timedelta(hours=1) / executions_per_hour
    async with reader_harness(alloy, tmp_path, max_lateness="2h") as harness:
        for number in range(3 * executions_per_hour):
            harness.add(f"e-{number}", "success", ago=number * step, stopped=harness.clock.now() - number * step)
        await harness.read()
        harness.clock.advance(300)
        for number in range(executions_per_hour // 12):
            harness.add(f"n-{number}", "success", ago=number * step, stopped=harness.clock.now() - number * step)
        harness.pages()
        await harness.read()
        expected = requests_per_short_scan(executions_per_hour * 15 / 60, executions_per_hour * 10 / 60, 3)
        assert len(harness.pages()) == pytest.approx(expected, abs=0.9)
        await harness.read(full_scan=True)
        assert len(harness.pages()) == pytest.approx(requests_per_scan(executions_per_hour * 2, 3), abs=0.9)


@pytest.mark.parametrize("requests_per_second", [2.4, pytest.param(20, marks=pytest.mark.long)])
def test_scheduler_detects_as_soon_as_is_computed(requests_per_second: float) -> None:
    """The scheduler is a little slower than the arithmetic, because it has to estimate the rates of failures."""
    load = LOADS["even"](120, 16 * HOUR_SECONDS, random.Random(1))  # noqa: S311  # a load needs no secrecy
    delays, requests = simulated(load, requests_per_second=requests_per_second, measured_from=3 * HOUR_SECONDS)
    sample = Sample(tuple(load.executions_per_second), tuple(load.rate(feed, 0.0) for feed in range(load.feeds)))
    found = evaluate(Fleet(120, requests_per_second=requests_per_second), sample).usual
    assert 0.95 <= sum(delays) / len(delays) / found.delay_seconds <= 1.3
    assert requests == pytest.approx(min(requests_per_second, found.wanted), rel=0.1)


def simulated(load: Load, *, requests_per_second: float, measured_from: float) -> tuple[list[float], float]:
    """Return the delays of all failures and the requests a second, with as many pages as the arithmetic assumes."""
    clock, scans = SimulatedClock(), Scans()
    settings = some_settings(source={"requests_per_second": requests_per_second}).source
    rule, limiter = SchedulerRule(load, settings, clock), RateLimiter(clock, interval_seconds=1 / requests_per_second)
    rng = random.Random(1)  # noqa: S311  # phases need no secrecy
    polled_at, seen = [0.0] * load.feeds, [0] * load.feeds
    scanned_at = [-rng.uniform(0, scans.full_scan_seconds) for _ in range(load.feeds)]
    delays, requests = [], 0
    while clock.seconds < load.seconds:
        feed, wait = rule.next_due()
        if feed is None:
            clock.seconds += wait
            continue
        clock.seconds = now = limiter.take()
        is_full_scan = now - scanned_at[feed] >= scans.full_scan_seconds
        scanned_at[feed] = now if is_full_scan else scanned_at[feed]
        rate, since = load.executions_per_second[feed], now - polled_at[feed]
        if is_full_scan:
            mean_pages = requests_per_scan(rate * (since + scans.lateness_seconds), 30)
        else:
            mean_pages = requests_per_short_scan(
                rate * (since + scans.overlap_seconds), rate * scans.overlap_seconds, 30
            )
        pages = int(mean_pages + rng.random())
        for _ in range(pages - 1):
            clock.seconds = limiter.take()
        times, first = load.failures[feed], seen[feed]
        seen[feed] = last = bisect_right(times, now, first)
        executions = max(last - first, round(load.executions_per_second[feed] * (now - polled_at[feed])))
        polled_at[feed] = now
        if now > measured_from:
            requests += pages
            delays += [now - time for time in times[first:last] if time > measured_from]
        ages = [now - time for time in times[first:last]]
        rule.record(feed, executions, ages, pages, is_full_scan=is_full_scan)
    return delays, requests / (load.seconds - measured_from)


def test_figures_called_measured_are_those_of_the_benchmarks() -> None:
    page = (DOCS / "benchmarks.md").read_text()
    assert "polled, redacted, recorded and sent at 2,500 a second" in page
    assert "Ten pages a second take 2 %" in page


def test_sentences_of_the_page_agree_with_the_arithmetic() -> None:
    page = " ".join((DOCS / "capacity.md").read_text().split())
    one = Fleet(1)
    busy = 20 * PAGE_CORE_SECONDS + 20 * PAGE_RECORDS * one.failure_core_seconds
    assert f"at most {100 * busy:.0f} % of a core" in page
    shared = 20 * PAGE_CORE_SECONDS + 20 * PAGE_RECORDS * Fleet(1, 3).failure_core_seconds
    assert f"{20 * PAGE_RECORDS} failures a second need {shared:.1f} cores" in page
    assert math.ceil(shared) == 3
    assert "about 2,000 workflows" in page
    assert mixed(2000).usual.late_seconds == 0 < mixed(2500).usual.late_seconds
    assert "29,000 workflows of the load below with a limit of 1,000 use a whole core" in page
    assert mixed(29_000, requests_per_second=1000).use[PROCESSES] == pytest.approx(1, abs=0.05)
    assert f"one process sends {one.failures_per_second[PROCESSES]:,.0f}"[:-2] in page
    nine, eight = (Fleet(1, processes).failures_per_second[PROCESSES] for processes in (9, 8))
    assert "nine processes" in page
    assert eight < one.failures_per_second[PROCESSES] < nine


def test_fleets_of_the_docs_have_settings_that_are_allowed() -> None:
    for fleet in FLEETS:
        some_settings(source={"requests_per_second": fleet.requests_per_second})
    assert {fleet.workflows for fleet in FLEETS} >= {1000, 100_000}
    assert {fleet.processes for fleet in FLEETS} >= {1, 50}


def test_figures_have_two_digits_and_a_unit() -> None:
    assert [duration(each) for each in (12.11, 119, 7200, 1e6, math.inf)] == ["12 s", "120 s", "2 h", "12 d", "never"]
    assert [percent(each) for each in (0.0234, 0.5, 7.31)] == ["2.3 %", "50 %", "731 %"]
    assert [dollars(each) for each in (0.257, 1777.3)] == ["0.26", "1,777"]
