"""Polls of one feed while the API fails, repeats or shifts its pages, or lists malformed records."""

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from forwarder.demo.sample_data import execution
from forwarder.errors import PageUnreadable, SourceError, SourceRefused, SourceUnavailable
from forwarder.model import Checkpoint
from tests.factories import FEED
from tests.fakes import alloy as faults
from tests.fakes.actions import HttpResponse
from tests.fakes.alloy import FakeAlloy
from tests.fakes.wire import Request
from tests.intake.reader_harness import BROKEN, HOUR, MINUTE, WORKFLOW, api_now, reader_harness


async def test_transient_fault_repeats_the_same_page(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path) as harness:
        for number in range(5):
            harness.add(f"{number}", ago=MINUTE * (5 - number))
        alloy.next(faults.unavailable(500), faults.cut(9), faults.too_many_requests("30"), path_contains=WORKFLOW)
        assert await harness.read() == ["0", "1", "2", "3", "4"]
        assert harness.pages() == ["0", "0", "0", "0", "1", "2"]


@pytest.mark.parametrize(
    ("fault", "exception_type"),
    [(faults.unavailable(500), SourceUnavailable), (faults.too_many_requests("500"), SourceUnavailable),
     (faults.unauthorized(), SourceRefused), (faults.not_json(), PageUnreadable), (faults.data_null(), PageUnreadable)],
)  # fmt: skip
async def test_aborted_poll_keeps_entries_and_watermark(
    alloy: FakeAlloy, tmp_path: Path, fault: Any, exception_type: type[SourceError]
) -> None:
    async with reader_harness(alloy, tmp_path) as harness:
        for number in range(5):
            harness.add(f"{number}", ago=MINUTE * (5 - number))
        alloy.always(lambda request: fault if request.query["page"] == "1" else None)
        with pytest.raises(exception_type):
            await harness.read()
        assert await harness.recorded() == ["2", "3", "4"]
        assert await harness.checkpoint() == Checkpoint()
        alloy.clear()
        harness.clock.advance(3600)
        assert await harness.read() == ["0", "1"]


async def test_aborted_polls_count_each_failure_once(alloy: FakeAlloy, tmp_path: Path) -> None:
    """A burst that needs several pages is found by the rate even if the API fails meanwhile."""
    async with reader_harness(alloy, tmp_path) as harness:
        for number in range(5):
            harness.add(f"{number}", ago=MINUTE, stopped=harness.clock.now())
        alloy.always(lambda request: faults.unauthorized() if request.query["page"] == "1" else None)
        for _ in range(2):
            with pytest.raises(SourceRefused):
                await harness.reader.read(FEED)
        alloy.clear()
        activity = (await harness.reader.read(FEED)).activity
        assert activity == (await harness.checkpoint()).activity
    assert activity.burst == pytest.approx(5, rel=0.01)


@pytest.mark.parametrize("page", ["1", "2"])
@pytest.mark.parametrize("status", [404, 416])
async def test_stray_404_does_not_end_the_listing(alloy: FakeAlloy, tmp_path: Path, status: int, page: str) -> None:
    """A node that starts, or a router in front of it, does not know the path for a moment."""
    async with reader_harness(alloy, tmp_path) as harness:
        for number in range(8):
            harness.add(f"{number}", ago=MINUTE * (8 - number))
        began_at = harness.clock.monotonic()
        strays: list[float] = []

        def fault(request: Request) -> HttpResponse | None:
            if request.query["page"] != page or harness.clock.monotonic() > began_at + 1:
                return None
            strays.append(harness.clock.monotonic())
            return HttpResponse(status, {}, b'{"message":"Not Found"}')

        alloy.always(fault)
        assert await harness.read() == [f"{number}" for number in range(8)]
        assert strays


async def test_stray_404_for_a_single_record_is_repeated(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path) as harness:
        for number in range(5):
            harness.add(f"{number}", ago=MINUTE * (5 - number))
        harness.add("broken", raw=BROKEN)
        strays = iter([HttpResponse(404, {}, b"{}")] * 2)  # for both spellings of the path
        alloy.always(
            lambda request: (
                next(strays, None) if (request.query["page"], request.query["limit"]) == ("2", "1") else None
            )
        )
        assert await harness.read() == ["0", "1", "2", "3", "4"]


async def test_missing_page_after_the_last_ends_the_scan(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path) as harness:
        for number in range(6):
            harness.add(f"{number}", ago=MINUTE * (6 - number))
        missing = HttpResponse(404, {}, b'{"detail": "Invalid page."}')
        alloy.always(lambda request: missing if request.query["page"] == "2" else None)
        assert await harness.read() == ["0", "1", "2", "3", "4", "5"]
        assert harness.pages() == ["0", "1", "2", "2", "0", "2", "0"]
        assert (await harness.checkpoint()).watermark is not None


async def test_endlessly_repeated_pages_abort_the_poll(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path) as harness:
        for number in range(5):
            harness.add(f"{number}", ago=MINUTE * (5 - number))
        alloy.always(faults.repeating(alloy))
        with pytest.raises(PageUnreadable, match="the same page repeatedly"):
            await harness.read()
        assert harness.pages() == ["0", "1", "2"]


async def test_listing_that_begins_again_aborts_the_poll(alloy: FakeAlloy, tmp_path: Path) -> None:
    """A page number behind the end is taken modulo the number of pages."""
    async with reader_harness(alloy, tmp_path) as harness:
        for number in range(9):
            harness.add(f"{number}", ago=MINUTE * (9 - number))
        alloy.always(lambda request: alloy.answer(request, page=str(int(request.query["page"]) % 3)))
        with pytest.raises(PageUnreadable, match="the same page repeatedly"):
            await harness.read()
        assert len(await harness.recorded()) == 9
        assert len(harness.pages()) < 10


async def test_pages_that_move_far_do_not_abort_the_poll(alloy: FakeAlloy, tmp_path: Path) -> None:
    """A busy workflow moves by several pages while the API has a client wait (429), in each of its scans."""
    async with reader_harness(alloy, tmp_path) as harness:
        for number in range(30):
            harness.add(f"{number}", ago=MINUTE * (30 - number))
        newer = (execution("failed-block", id=f"new-{number}", started=harness.clock.now()) for number in range(9))

        def move(request: Request) -> HttpResponse | None:
            moved = list(newer) if request.query["page"] == "4" else []
            for each in moved:
                alloy.api.add(WORKFLOW, each)
            return faults.too_many_requests("30") if moved else None

        alloy.always(move)
        first = await harness.read()
        assert set(first) >= {str(number) for number in range(30)}
        assert (await harness.checkpoint()).watermark is not None
        assert set(first) | set(await harness.read()) == alloy.api.listed_ids


@pytest.mark.parametrize("base", [0, 1])
async def test_shifting_pages_hide_no_failure(tmp_path: Path, base: int) -> None:
    with FakeAlloy(now=api_now, page_base=base) as alloy:
        async with reader_harness(alloy, tmp_path) as harness:
            for number in range(9):
                harness.add(f"{number}", ago=MINUTE * (9 - number))
            newer = (execution("failed-block", id=f"new-{number}", started=harness.clock.now()) for number in count())
            alloy.always(faults.shifting(alloy.api, WORKFLOW, lambda: next(newer)))
            first = await harness.read()
            assert set(first) >= {str(number) for number in range(9)}
            alloy.clear()
            assert set(first) | set(await harness.read()) == alloy.api.listed_ids


@pytest.mark.parametrize("max_page_records", [1, 2, 3])
@pytest.mark.parametrize("broken", range(5))
async def test_malformed_record_is_rejected_alone_on_pages_of_any_size(
    alloy: FakeAlloy, tmp_path: Path, broken: int, max_page_records: int
) -> None:
    async with reader_harness(alloy, tmp_path) as harness:
        for number in range(5):
            harness.add(f"{number}", ago=MINUTE * (5 - number), raw=BROKEN if number == broken else None)
        alloy.always(faults.short(alloy, max_page_records))
        assert await harness.read() == [str(number) for number in range(5) if number != broken]
        assert (await harness.checkpoint()).watermark is not None


@pytest.mark.parametrize("listed", [2, 5], ids=["one page", "two pages"])
@pytest.mark.parametrize("broken", range(2))
async def test_ignored_limit_of_one_skips_no_record(alloy: FakeAlloy, tmp_path: Path, listed: int, broken: int) -> None:
    """An API with pages of a fixed size cannot list one record, so the others on the page would be skipped."""
    async with reader_harness(alloy, tmp_path) as harness:
        for number in range(listed):
            harness.add(f"{number}", ago=MINUTE * (5 - number), raw=BROKEN if number == broken else None)
        alloy.always(faults.fixed_size(alloy, 3))
        with pytest.raises(PageUnreadable, match="ignores limit=1"):
            await harness.read()
        before = await harness.recorded()
        assert (await harness.checkpoint()).watermark is None
        alloy.clear()
        after = await harness.read()
        assert sorted(before + after) == [str(number) for number in range(listed) if number != broken]


MALFORMED = [BROKEN, b'{"status": "failed"}', b"null"]


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("raw", MALFORMED)
async def test_pages_of_malformed_records_do_not_stop_a_feed(
    alloy: FakeAlloy, tmp_path: Path, raw: bytes, size: int
) -> None:
    async with reader_harness(alloy, tmp_path, page_size=size) as harness:
        harness.add("old", ago=HOUR)
        for number in range(8):
            harness.add(f"bad-{number}", ago=MINUTE * (10 - number), raw=raw)
        harness.add("new")
        assert await harness.read() == ["new", "old"]


async def test_log_of_only_malformed_records_aborts_the_poll(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path) as harness:
        for number in range(100):
            harness.add(f"bad-{number}", raw=b'{"id": %d}' % number)
        with pytest.raises(PageUnreadable):
            await harness.read()
        assert len(harness.pages()) < 20
