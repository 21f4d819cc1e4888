"""Servers that ignore `order`: the feed is DEGRADED, and its failures are found."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from random import Random

from forwarder.intake.listing_order import ListingOrder
from forwarder.model import Execution
from tests.e2e.harness import fail, sent
from tests.factories import FEED
from tests.fakes import alloy as faults
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation
from tests.intake.reader_harness import HOUR, MINUTE, reader_harness
from tests.virtual_clock import NOON

TOLERANCE = timedelta(minutes=10)


def is_wrong(*pages: list[Execution]) -> bool:
    order = ListingOrder(TOLERANCE)
    for page in pages:
        order.add(page)
    return order.is_wrong


def run(name: str, start: float, stop: float | None = None) -> Execution:
    """Return an execution that started and stopped so many minutes before noon."""
    stopped = None if stop is None else NOON - timedelta(minutes=stop)
    return Execution(id=name, started_at=NOON - timedelta(minutes=start), stopped_at=stopped)


def test_listing_with_the_newest_first_is_right() -> None:
    assert not is_wrong([run(str(minute), minute, minute) for minute in range(40)])


def test_listing_with_the_oldest_first_is_wrong() -> None:
    assert is_wrong([run(str(minute), 40 - minute, 40 - minute) for minute in range(40)])
    assert is_wrong([run(str(minute), 4 - minute, 4 - minute) for minute in range(4)])


def test_listing_in_random_order_is_wrong() -> None:
    runs = [run(str(minute), minute, minute) for minute in range(0, 400, 5)]
    Random(1).shuffle(runs)  # noqa: S311  # a seed is the point
    assert is_wrong(runs[:30], runs[30:60], runs[60:])


def test_listing_by_stop_is_right() -> None:
    assert not is_wrong([run("long", 600, 1), run("a", 2, 2), run("longer", 900, 3), run("b", 4, 4), run("c", 5, 5)])


def test_listing_with_ties_and_jitter_is_right() -> None:
    assert not is_wrong([run("a", 1, 1), run("b", 0.999, 0.999), run("c", 1, 1), run("d", 0.995, 0.995)])


def test_shifted_executions_are_not_a_wrong_order() -> None:
    page = [run(str(minute), minute * 20, minute * 20) for minute in range(10)]
    assert not is_wrong(page, [*page[8:], run("below", 400, 400)])


def test_page_that_begins_below_the_watermark_is_wrong() -> None:
    order = ListingOrder(TOLERANCE, watermark=NOON)
    order.add([run("old", 600, 600)])
    assert order.is_wrong


async def test_failures_at_the_end_of_the_log_are_found(alloy: FakeAlloy, tmp_path: Path) -> None:
    """The newest executions are on the last page. A scan between two full scans reads that page, and few others."""
    alloy.always(faults.oldest_first(alloy))
    async with reader_harness(alloy, tmp_path, max_lateness="1h", full_scan_interval="30m", overlap="10m") as it:
        for number in range(12):
            it.add(f"old-{number:02}", "success", ago=HOUR * (30 - number))
        assert await it.read() == []
        it.pages()
        it.add("new-1", ago=MINUTE)
        done = await it.reader.read(FEED)
        assert await it.recorded() == ["new-1"]
        assert done.listing_problem is not None
        assert len(it.pages()) <= 4
        it.clock.advance(3601)
        await it.read()
        assert it.pages() == ["0", "1", "2", "3", "4", "5"]


async def test_order_that_is_right_again_clears_the_degradation(alloy: FakeAlloy, tmp_path: Path) -> None:
    alloy.always(faults.oldest_first(alloy))
    async with reader_harness(alloy, tmp_path) as it:
        for number in range(6):
            it.add(f"old-{number}", "success", ago=HOUR * (9 - number))
        assert (await it.reader.read(FEED)).listing_problem is not None
        alloy.clear()
        it.add("new", ago=MINUTE)
        assert (await it.reader.read(FEED, full_scan=True)).listing_problem is None
        assert await it.recorded() == ["new"]


def test_wrong_order_is_degraded_and_failures_arrive(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    alloy.always(faults.oldest_first(alloy))
    for hour in range(40, 0, -1):
        fail(alloy, f"old-{hour}", outcome="success", ago=3600 * hour)
    with installation.start() as daemon:
        daemon.wait_for_log("DEGRADED", "newest executions first")
        fail(alloy, "new", ago=1)
        daemon.wait_until(lambda: sent(bus) == ["new"])
