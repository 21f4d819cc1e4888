"""Capacity: fleets of one to fifty processes, and an hour in which every execution fails. Computed, not measured.

`fleet_capacity.py` and `fleet_costs.py` have the arithmetic. docs/capacity.md has the same tables, which
`tests/doc_generator.py` writes.
"""

import math
from collections.abc import Sequence

from tests.benchmarks.bench import Bench
from tests.benchmarks.fleet_capacity import (
    API,
    HOUR_SECONDS,
    JOURNALS,
    MAX_ENTRIES_PER_REQUEST,
    PROCESSES,
    PUT_EVENTS,
    Fleet,
    Scans,
    evaluate,
    mixed_sample,
)
from tests.benchmarks.fleet_costs import costs
from tests.benchmarks.report import number

GOALS = ()

WORKFLOWS = (1_000, 10_000, 100_000)
LARGE_REGION, SMALL_REGION = "us-east-1", "af-south-1"
DEFAULT_LIMIT, HIGH_LIMIT, MAX_LIMIT = 20, 200, 1000
"""Requests a second: the default, an example, and the largest that the setting allows."""

FLEETS = (
    Fleet(1_000, 1, SMALL_REGION, DEFAULT_LIMIT),
    Fleet(1_000, 4, SMALL_REGION, DEFAULT_LIMIT),
    Fleet(10_000, 1, SMALL_REGION, DEFAULT_LIMIT),
    Fleet(10_000, 4, SMALL_REGION, DEFAULT_LIMIT),
    Fleet(10_000, 1, SMALL_REGION, HIGH_LIMIT),
    Fleet(10_000, 1, SMALL_REGION, MAX_LIMIT),
    Fleet(10_000, 4, SMALL_REGION, MAX_LIMIT),
    Fleet(100_000, 1, LARGE_REGION, DEFAULT_LIMIT),
    Fleet(100_000, 1, LARGE_REGION, MAX_LIMIT),
    Fleet(100_000, 4, LARGE_REGION, MAX_LIMIT),
    Fleet(100_000, 10, LARGE_REGION, MAX_LIMIT),
    Fleet(100_000, 50, SMALL_REGION, MAX_LIMIT),
)

EXAMPLES = [
    Fleet(
        10_000,
        requests_per_second=limit,
        scans=Scans(full_scan_seconds=hours * 3600.0, lateness_seconds=depth * 3600.0),
    )
    for limit, hours, depth in ((20, 1, 24), (20, 6, 24), (20, 24, 48), (20, 1, 2), (100, 1, 24), (100, 24, 48))
]
"""Fleets with other limits and other settings of full scans, in hours."""

LIMITS = (API, PROCESSES, JOURNALS, PUT_EVENTS)

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""The heads and the rows."""


def load_table() -> Table:
    """Return what a number of workflows asks for, before any limit."""
    heads = ["workflows", "executions/s", "failures a day", "requests/s at 2 min", "requests/s wanted", "PutEvents/s"]
    rows = []
    for workflows in WORKFLOWS:
        found = evaluate(Fleet(workflows, requests_per_second=math.inf, processes=1000), mixed_sample())
        figures = [found.executions, found.failures * 24 * HOUR_SECONDS, found.usual.least, found.usual.wanted]
        rows.append([f"{workflows:,}", *map(rounded, [*figures, found.executions / MAX_ENTRIES_PER_REQUEST])])
    return heads, rows


def fleet_table() -> Table:
    """Return the times of each fleet, the use of each limit in the hour of failures, and the limit that binds first."""
    heads = ["workflows", "processes", "requests/s", "Region", "mean delay", "all sent after", *LIMITS, "first limit"]
    rows = []
    for fleet in FLEETS:
        found = evaluate(fleet, mixed_sample())
        times = [found.usual.delay_seconds, found.drain_seconds]
        uses = [percent(found.use[name]) if found.use[name] else "–" for name in LIMITS]
        rows.append([*_names(fleet), fleet.region, *map(duration, times), *uses, found.binding])
    return heads, rows


def settings_table() -> Table:
    """Return the effect of full scans on the detection of 10,000 workflows."""
    settings = ["`full_scan_interval`", "`max_lateness`"]
    heads = ["requests/s", *settings, "found until", "mean delay", "longest wait", API]
    rows = []
    for fleet in EXAMPLES:
        found, scans = evaluate(fleet, mixed_sample()).usual, fleet.scans
        values = [f"{seconds / HOUR_SECONDS:.0f}h" for seconds in (scans.full_scan_seconds, scans.lateness_seconds)]
        found_until = scans.lateness_seconds - scans.full_scan_seconds
        times = [duration(each) for each in (found_until, found.delay_seconds, found.longest_seconds)]
        rows.append(
            [f"{fleet.requests_per_second:.0f}", *values, *times, percent(found.least / fleet.requests_per_second)]
        )
    return heads, rows


def costs_table() -> Table:
    heads = [
        "workflows",
        "processes",
        "hosts (assumed)",
        "ledger, idle",
        "ledger, failures",
        "EventBridge",
        "month",
        "bad hour",
    ]
    rows = []
    fleets = {(fleet.workflows, fleet.processes): fleet for fleet in FLEETS}
    for _, fleet in sorted(fleets.items()):
        found = costs(fleet, mixed_sample())
        parts = [found.hosts, found.idle_ledger, found.failures_ledger, found.events, found.month, found.failing_hour]
        rows.append([*_names(fleet)[:2], *map(dollars, parts)])
    return heads, rows


TABLES = {
    "load": load_table,
    "fleets": fleet_table,
    "settings": settings_table,
    "costs": costs_table,
}


def run(bench: Bench) -> None:
    for name, table in TABLES.items():
        bench.table(name, *table())
    lines = {f"{limit} requests/s": _delays(limit) for limit in (DEFAULT_LIMIT, HIGH_LIMIT, MAX_LIMIT)}
    bench.curve("Mean delay of detection, up to an hour", "workflows", "s", lines)


def _delays(requests_per_second: int) -> list[tuple[float, float]]:
    """Return the mean delays of at most an hour, by the number of workflows."""
    sizes = [step * 10**power for power in (2, 3, 4) for step in (1, 2, 5)] + [WORKFLOWS[-1]]
    found = {
        size: evaluate(Fleet(size, requests_per_second=requests_per_second), mixed_sample()).usual.delay_seconds
        for size in sizes
    }
    return [(float(size), delay) for size, delay in found.items() if delay <= HOUR_SECONDS]


def markdown(name: str) -> str:
    """Return a table for the page of the docs."""
    heads, rows = TABLES[name]()
    lines = [f"| {' | '.join(row)} |" for row in (heads, *rows)]
    return "\n".join([lines[0], "|---" * len(heads) + "|", *lines[1:], ""])


def duration(seconds: float) -> str:
    """Format a time in the largest unit of which there are at least two, or as "never" if it is infinite."""
    if math.isinf(seconds):
        return "never"
    units = (("d", 86_400.0), ("h", HOUR_SECONDS), ("min", 60.0), ("s", 1.0))
    unit, length = next((each for each in units if seconds >= 2 * each[1]), units[-1])
    return f"{rounded(seconds / length)} {unit}"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{rounded(100 * share)} %"


def dollars(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.2f}"


def rounded(value: float) -> str:
    """Format a number with two digits."""
    return number(float(f"{value:.2g}"))


def _names(fleet: Fleet) -> list[str]:
    return [f"{fleet.workflows:,}", f"{fleet.processes:,}", f"{fleet.requests_per_second:,.0f}"]
