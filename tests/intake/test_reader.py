"""Readings of one feed: how far down they go, where they begin, and what they remember."""

from datetime import timedelta
from pathlib import Path

import pytest

from forwarder.demo.sample_data import execution
from forwarder.intake.transform import MIN_THREAD_RESULT_BYTES
from forwarder.model import Checkpoint
from tests.factories import FEED
from tests.fakes import alloy as faults
from tests.fakes.alloy import FakeAlloy
from tests.intake.reader_harness import DAY, HOUR, MINUTE, WORKFLOW, reader_harness
from tests.virtual_clock import NOON


async def test_the_first_reading_goes_down_to_the_end_and_the_next_ones_only_as_far_as_needed(
    alloy: FakeAlloy, tmp_path: Path
) -> None:
    async with reader_harness(alloy, tmp_path) as it:
        for number in range(10):
            it.add(f"{number}", ago=HOUR * (10 - number))
        assert await it.read() == [str(number) for number in range(10)]
        assert it.pages() == ["0", "1", "2", "3", "4"]
        assert (len(it.wakeups), (await it.checkpoint()).watermark) == (4, NOON - HOUR)
        it.add("10", ago=MINUTE)
        assert await it.read() == ["10"]
        assert it.pages() == ["0", "1"]


async def test_a_deep_reading_goes_a_late_window_down(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path, max_lateness="9h") as it:
        for number in range(12):
            it.add(f"s-{number:02}", "success", ago=HOUR * (12 - number))
        await it.read()
        it.pages()
        it.add("late", ago=HOUR * 8, stopped=NOON)
        assert await it.read() == []
        it.clock.advance(3600)
        it.add("new", "success")
        assert await it.read() == ["late"]
        assert await it.read() == []


async def test_ordinary_scan_finds_unlisted_run_within_overlap(alloy: FakeAlloy, tmp_path: Path) -> None:
    """A run that started five minutes ago, was not listed while it ran, and failed now, is below newer runs."""
    async with reader_harness(alloy, tmp_path, overlap="10m") as it:
        for number in range(9):
            it.add(f"s-{number}", "success", ago=MINUTE * number / 2)
        for number in range(6):
            it.add(f"old-{number}", "success", ago=MINUTE * (12 + number))
        assert await it.read() == []
        it.pages()
        it.add("late", ago=5 * MINUTE, stopped=NOON)
        it.add("too late", ago=20 * MINUTE, stopped=NOON)
        assert await it.read() == ["late"]
        assert it.pages() == ["0", "1", "2", "3", "4"]
        assert await it.read(full_scan=True) == ["too late"]


async def test_a_run_seen_while_it_ran_is_found_however_late_it_fails(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path) as it:
        it.add("slow", "running", ago=MINUTE)
        assert await it.read() == []
        assert list((await it.checkpoint()).open_executions) == ["slow"]
        for day in range(3):
            it.clock.advance(DAY.total_seconds())
            for number in range(6):
                it.add(f"s-{day}-{number}", "success")
            assert await it.read() == []
        alloy.api.update("slow", status="failed", finished=None, stoppedAt=it.clock.now().isoformat())
        assert await it.read(full_scan=True) == ["slow"]
        assert (await it.checkpoint()).open_executions == {}


async def test_a_run_that_never_ends_is_given_up_after_the_retention(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path, max_run_duration="2d") as it:
        it.add("stuck", "running")
        await it.read()
        it.clock.advance((2 * DAY - HOUR).total_seconds())
        await it.read()
        assert "stuck" in (await it.checkpoint()).open_executions
        it.clock.advance(2 * 3600)
        await it.read()
        assert (await it.checkpoint()).open_executions == {}


@pytest.mark.parametrize(
    ("begins", "found"),
    [
        (Checkpoint(), ["after", "before", "old"]),
        (Checkpoint(floor=NOON - HOUR), ["after", "before"]),
        (Checkpoint(local_floor=NOON), ["after"]),
        (Checkpoint(local_floor=NOON - HOUR), ["after", "before"]),
        (Checkpoint(floor=NOON - MINUTE), ["after"]),
    ],
)
async def test_what_stopped_at_or_before_the_floor_is_not_recorded(
    alloy: FakeAlloy, tmp_path: Path, begins: Checkpoint, found: list[str]
) -> None:
    async with reader_harness(alloy, tmp_path, begins) as it:
        it.add("old", ago=HOUR)
        it.add("before", ago=MINUTE)
        it.add("after", ago=-MINUTE)
        assert await it.read() == found
        assert await it.read(full_scan=True) == []


@pytest.mark.parametrize("skew", [timedelta(hours=-3), timedelta(hours=3)])
async def test_now_is_the_clock_of_the_api(alloy: FakeAlloy, tmp_path: Path, skew: timedelta) -> None:
    alloy.always(lambda _: faults.skewed(skew))
    async with reader_harness(alloy, tmp_path, Checkpoint(local_floor=NOON)) as it:
        it.add("before", ago=-skew + MINUTE)
        it.add("after", ago=-skew - MINUTE)
        assert await it.read() == ["after"]
        checkpoint = await it.checkpoint()
        assert (checkpoint.floor, checkpoint.local_floor) == (NOON + skew, None)
        assert checkpoint.watermark == NOON + skew


async def test_a_feed_begins_when_it_began_although_its_first_answers_came_late(
    alloy: FakeAlloy, tmp_path: Path
) -> None:
    alloy.next(faults.unavailable(503, "60"), faults.unavailable(503, "60"))
    async with reader_harness(alloy, tmp_path, Checkpoint(local_floor=NOON)) as it:
        it.add("meanwhile", ago=-MINUTE)
        assert await it.read() == ["meanwhile"]
        assert it.clock.now() >= NOON + 2 * MINUTE


async def test_running_ones_are_never_recorded_and_unknown_ones_as_the_settings_say(
    alloy: FakeAlloy, tmp_path: Path
) -> None:
    for unknown, found in (("forward", ["failed", "odd"]), ("ignore", ["failed"])):
        folder = tmp_path / unknown
        folder.mkdir()
        alloy.api.remove_workflow(WORKFLOW)
        async with reader_harness(alloy, folder, unknown_status=unknown) as it:
            it.add("running", "running")
            it.add("odd", "unfinished")
            it.add("failed", "failed-message")
            it.add("well", "success")
            assert await it.read() == found


async def test_an_id_that_was_recorded_elsewhere_is_not_recorded_again(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path) as it:
        it.add("copy")
        assert await it.read() == ["copy"]
        assert await it.read(full_scan=True) == []
        assert len(it.wakeups) == 1


async def test_large_executions_are_recorded_like_their_neighbours(alloy: FakeAlloy, tmp_path: Path) -> None:
    """Of these, one is shaped in a thread of its own, and the others take a pause between them."""
    sizes = [10, MIN_THREAD_RESULT_BYTES * 2, MIN_THREAD_RESULT_BYTES // 2, MIN_THREAD_RESULT_BYTES // 2, 10]
    async with reader_harness(alloy, tmp_path, page_size=30) as it:
        for number, size in enumerate(sizes):
            payload = {"text": f"{number}" * size}
            record = execution("failed-status", id=f"{number}", started=NOON, payload=payload)
            alloy.api.add(WORKFLOW, record)
        await it.reader.read(FEED)
        claimed = await it.ledger.claim(10, now=it.clock.now())
    texts = {each.entry.execution_id: each.entry.detail.count(each.entry.execution_id.encode()) for each in claimed}
    assert sorted(texts) == [str(number) for number in range(len(sizes))]
    assert [texts[str(number)] >= size for number, size in enumerate(sizes)] == [True] * len(sizes)
