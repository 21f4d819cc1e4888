"""Polls of one feed: the depth of a scan, the floor of a feed, and the saved checkpoint."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from forwarder.demo.sample_data import execution
from forwarder.intake.transform import MIN_THREAD_RESULT_BYTES
from forwarder.model import Checkpoint
from tests.factories import FEED
from tests.fakes import alloy as faults
from tests.fakes.alloy import FakeAlloy
from tests.intake.reader_harness import DAY, HOUR, MINUTE, WORKFLOW, reader_harness
from tests.virtual_clock import NOON


async def test_first_poll_reads_all_pages_and_next_ones_only_new(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path) as harness:
        for number in range(10):
            harness.add(f"{number}", ago=HOUR * (10 - number))
        assert await harness.read() == [str(number) for number in range(10)]
        assert harness.pages() == ["0", "1", "2", "3", "4"]
        assert (len(harness.wakeups), (await harness.checkpoint()).watermark) == (4, NOON - HOUR)
        harness.add("10", ago=MINUTE)
        assert await harness.read() == ["10"]
        assert harness.pages() == ["0"]


@pytest.mark.parametrize(("last_ago", "pages"), [(19, ["0", "1"]), (21, ["0"])])
async def test_second_page_is_read_if_the_first_is_within_two_overlaps(
    alloy: FakeAlloy, tmp_path: Path, last_ago: float, pages: list[str]
) -> None:
    """One overlap is the depth of a poll, and one is the most by which successive executions may be out of order."""
    async with reader_harness(alloy, tmp_path, overlap="10m") as harness:
        for number, minutes in enumerate([0, 5, last_ago, 60, 61, 62]):
            harness.add(f"{number}", "success", ago=MINUTE * minutes, stopped=NOON - MINUTE * minutes)
        await harness.read()
        harness.pages()
        await harness.read()
        assert harness.pages() == pages


async def test_second_page_is_read_while_an_execution_on_it_runs(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path) as harness:
        for number in range(3):
            harness.add(f"{number}", "success", ago=HOUR * number)
        harness.add("slow", "running", ago=HOUR * 3)
        await harness.read()
        harness.pages()
        alloy.api.update("slow", status="failed", finished=None, stoppedAt=harness.clock.now().isoformat())
        assert await harness.read() == ["slow"]
        assert harness.pages() == ["0", "1", "2"]
        await harness.read()
        assert harness.pages() == ["0"]


async def test_full_scan_reaches_max_lateness_below_watermark(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path, max_lateness="9h") as harness:
        for number in range(12):
            harness.add(f"s-{number:02}", "success", ago=HOUR * (12 - number))
        await harness.read()
        harness.pages()
        harness.add("late", ago=HOUR * 8, stopped=NOON)
        assert await harness.read() == []
        harness.clock.advance(3600)
        harness.add("new", "success")
        assert await harness.read() == ["late"]
        assert await harness.read() == []


async def test_ordinary_scan_finds_unlisted_run_within_overlap(alloy: FakeAlloy, tmp_path: Path) -> None:
    """A run that started five minutes ago, was not listed while it ran, and failed now, is below newer runs."""
    async with reader_harness(alloy, tmp_path, overlap="10m") as harness:
        for number in range(9):
            harness.add(f"s-{number}", "success", ago=MINUTE * number / 2)
        for number in range(6):
            harness.add(f"old-{number}", "success", ago=MINUTE * (12 + number))
        assert await harness.read() == []
        harness.pages()
        harness.add("late", ago=5 * MINUTE, stopped=NOON)
        harness.add("too late", ago=20 * MINUTE, stopped=NOON)
        assert await harness.read() == ["late"]
        assert harness.pages() == ["0", "1", "2", "3", "4"]
        assert await harness.read(full_scan=True) == ["too late"]


async def test_open_execution_is_recorded_however_late_it_fails(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path) as harness:
        harness.add("slow", "running", ago=MINUTE)
        assert await harness.read() == []
        assert list((await harness.checkpoint()).open_executions) == ["slow"]
        for day in range(3):
            harness.clock.advance(DAY.total_seconds())
            for number in range(6):
                harness.add(f"s-{day}-{number}", "success")
            assert await harness.read() == []
        alloy.api.update("slow", status="failed", finished=None, stoppedAt=harness.clock.now().isoformat())
        assert await harness.read(full_scan=True) == ["slow"]
        assert (await harness.checkpoint()).open_executions == {}


async def test_endless_run_is_dropped_after_max_run_duration(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path, max_run_duration="2d") as harness:
        harness.add("stuck", "running")
        await harness.read()
        harness.clock.advance((2 * DAY - HOUR).total_seconds())
        await harness.read()
        assert "stuck" in (await harness.checkpoint()).open_executions
        harness.clock.advance(2 * 3600)
        with capture_logs() as lines:
            await harness.read()
        assert (await harness.checkpoint()).open_executions == {}
    line = next(line for line in lines if line["event"] == "running execution expired")
    assert "source.max_run_duration" in line["hint"]


@pytest.mark.parametrize(
    ("initial", "found"),
    [
        (Checkpoint(), ["after", "before", "old"]),
        (Checkpoint(floor=NOON - HOUR), ["after", "before"]),
        (Checkpoint(local_floor=NOON), ["after"]),
        (Checkpoint(local_floor=NOON - HOUR), ["after", "before"]),
        (Checkpoint(floor=NOON - MINUTE), ["after"]),
    ],
)
async def test_execution_at_or_before_the_floor_is_not_recorded(
    alloy: FakeAlloy, tmp_path: Path, initial: Checkpoint, found: list[str]
) -> None:
    async with reader_harness(alloy, tmp_path, initial) as harness:
        harness.add("old", ago=HOUR)
        harness.add("before", ago=MINUTE)
        harness.add("after", ago=-MINUTE)
        assert await harness.read() == found
        assert await harness.read(full_scan=True) == []


@pytest.mark.parametrize("skew", [timedelta(hours=-3), timedelta(hours=3)])
async def test_start_from_now_uses_the_clock_of_the_api(alloy: FakeAlloy, tmp_path: Path, skew: timedelta) -> None:
    alloy.always(lambda _: faults.skewed(skew))
    async with reader_harness(alloy, tmp_path, Checkpoint(local_floor=NOON)) as harness:
        harness.add("before", ago=-skew + MINUTE)
        harness.add("after", ago=-skew - MINUTE)
        assert await harness.read() == ["after"]
        checkpoint = await harness.checkpoint()
        assert (checkpoint.floor, checkpoint.local_floor) == (NOON + skew, None)
        assert checkpoint.watermark == NOON + skew


async def test_floor_is_not_raised_by_a_late_first_response(alloy: FakeAlloy, tmp_path: Path) -> None:
    alloy.next(faults.unavailable(503, "60"), faults.unavailable(503, "60"))
    async with reader_harness(alloy, tmp_path, Checkpoint(local_floor=NOON)) as harness:
        harness.add("meanwhile", ago=-MINUTE)
        assert await harness.read() == ["meanwhile"]
        assert harness.clock.now() >= NOON + 2 * MINUTE


async def test_unknown_status_is_recorded_as_configured(alloy: FakeAlloy, tmp_path: Path) -> None:
    """Running and succeeded executions are never recorded."""
    for unknown, found in (("forward", ["failed", "odd"]), ("ignore", ["failed"])):
        folder = tmp_path / unknown
        folder.mkdir()
        alloy.api.remove_workflow(WORKFLOW)
        async with reader_harness(alloy, folder, unknown_status=unknown) as harness:
            harness.add("running", "running")
            harness.add("odd", "unfinished")
            harness.add("failed", "failed-message")
            harness.add("well", "success")
            assert await harness.read() == found


@pytest.mark.parametrize(
    ("status", "hint"), [("odd", "add it to success_statuses, failure_statuses"), (None, "set unknown_status in")]
)
async def test_unknown_status_is_logged_with_a_hint(
    alloy: FakeAlloy, tmp_path: Path, status: str | None, hint: str
) -> None:
    async with reader_harness(alloy, tmp_path) as harness:
        harness.add("odd", "unfinished")
        alloy.api.update("odd", status=status)
        with capture_logs() as lines:
            await harness.read()
    line = next(line for line in lines if line["event"] == "unknown execution status")
    assert line["status"] == (status or "")
    assert line["hint"].startswith(hint)


async def test_id_recorded_before_is_not_recorded_again(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path) as harness:
        harness.add("copy")
        assert await harness.read() == ["copy"]
        assert await harness.read(full_scan=True) == []
        assert len(harness.wakeups) == 1


async def test_large_executions_are_recorded_like_small_ones(alloy: FakeAlloy, tmp_path: Path) -> None:
    """The largest one is transformed in a thread, and the others in separate turns of the event loop."""
    sizes = [10, MIN_THREAD_RESULT_BYTES * 2, MIN_THREAD_RESULT_BYTES // 2, MIN_THREAD_RESULT_BYTES // 2, 10]
    async with reader_harness(alloy, tmp_path, page_size=30) as harness:
        for number, size in enumerate(sizes):
            payload = {"text": f"{number}" * size}
            record = execution("failed-status", id=f"{number}", started=NOON, payload=payload)
            alloy.api.add(WORKFLOW, record)
        await harness.reader.read(FEED)
        claimed = await harness.ledger.claim(10, now=harness.clock.now())
    texts = {each.entry.execution_id: each.entry.detail.count(each.entry.execution_id.encode()) for each in claimed}
    assert sorted(texts) == [str(number) for number in range(len(sizes))]
    assert [texts[str(number)] >= size for number, size in enumerate(sizes)] == [True] * len(sizes)


async def test_detection_delay_is_the_time_since_the_stop(alloy: FakeAlloy, tmp_path: Path) -> None:
    """A failure that was recorded before has no delay."""
    async with reader_harness(alloy, tmp_path) as harness:
        harness.add("a", ago=HOUR, stopped=NOON - 10 * MINUTE)
        await harness.read()
        harness.add("b", ago=HOUR, stopped=NOON - MINUTE)
        await harness.read()
        text = harness.metrics.render().decode()
    assert "forwarder_detection_delay_seconds_count 2.0" in text
    assert "forwarder_detection_delay_seconds_sum 660.0" in text


async def test_detection_delay_includes_the_recording(
    alloy: FakeAlloy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of the ledger may be throttled."""
    async with reader_harness(alloy, tmp_path) as harness:
        record = harness.ledger.record

        async def record_slowly(*arguments: Any, **options: Any) -> int:
            harness.clock.advance(30)
            return await record(*arguments, **options)

        monkeypatch.setattr(harness.ledger, "record", record_slowly)
        harness.add("a", ago=HOUR, stopped=NOON - 10 * MINUTE)
        await harness.read()
        text = harness.metrics.render().decode()
    assert "forwarder_detection_delay_seconds_sum 630.0" in text


async def test_activity_counts_new_executions_and_failures(alloy: FakeAlloy, tmp_path: Path) -> None:
    """The executions of the first scan have no known rate. The activity is part of the checkpoint."""
    async with reader_harness(alloy, tmp_path) as harness:
        harness.add("s-1", "success", ago=HOUR)
        first_summary = await harness.reader.read(FEED)
        first = (await harness.checkpoint()).activity
        harness.clock.advance(10)
        harness.add("s-2", "success", ago=MINUTE)
        harness.add("f-1", ago=MINUTE, stopped=harness.clock.now())
        summary = await harness.reader.read(FEED)
        second = (await harness.checkpoint()).activity
        harness.clock.advance(10)
        idle = await harness.reader.read(FEED)
    assert first is not None
    assert (first.executions, first.failures, first.since) == (0, 0, NOON)
    assert second == summary.activity == idle.activity
    assert (first_summary.is_full_scan, summary.is_full_scan) == (True, False)
    assert second.executions == pytest.approx(2, rel=0.01)
    assert second.failures == pytest.approx(1)
    assert second.burst == pytest.approx(1)


async def test_activity_survives_a_restart(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path) as harness:
        harness.add("f-1", ago=MINUTE, stopped=NOON)
        before = (await harness.reader.read(FEED)).activity
        after = (await harness.new_reader().read(FEED)).activity
    assert before.failures == pytest.approx(1)
    assert after == before


async def test_reader_forgets_feeds_that_are_removed(alloy: FakeAlloy, tmp_path: Path) -> None:
    """Feeds may come and go for months. The activity of a feed that is added again comes from its checkpoint."""
    async with reader_harness(alloy, tmp_path) as harness:
        harness.add("f-1", ago=MINUTE, stopped=NOON)
        before = await harness.reader.read(FEED)
        harness.reader.forget_all_except({FEED})
        kept = dict(harness.reader._activities)  # noqa: SLF001  # memory is visible only there
        harness.reader.forget_all_except(())
        left = dict(harness.reader._activities)  # noqa: SLF001
        again = await harness.reader.read(FEED)
    assert (kept, left) == ({FEED: before.activity}, {})
    assert again.activity == before.activity
