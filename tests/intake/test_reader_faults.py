"""Readings of one feed while the API fails, repeats itself, shifts its pages or breaks its records."""

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from forwarder.demo.sample_data import execution
from forwarder.errors import PageUnreadable, SourceError, SourceRefused, SourceUnavailable
from forwarder.model import Checkpoint
from tests.fakes import alloy as faults
from tests.fakes.alloy import FakeAlloy
from tests.intake.reader_harness import BROKEN, HOUR, MINUTE, WORKFLOW, api_now, reader_harness


async def test_a_transient_fault_asks_for_the_same_page_again(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path) as it:
        for number in range(5):
            it.add(f"{number}", ago=MINUTE * (5 - number))
        alloy.next(faults.unavailable(500), faults.cut(9), faults.too_many_requests("30"), path_contains=WORKFLOW)
        assert await it.read() == ["0", "1", "2", "3", "4"]
        assert it.pages() == ["0", "0", "0", "0", "1", "2"]


@pytest.mark.parametrize(
    ("fault", "exception_type"),
    [(faults.unavailable(500), SourceUnavailable), (faults.too_many_requests("500"), SourceUnavailable),
     (faults.unauthorized(), SourceRefused), (faults.not_json(), PageUnreadable), (faults.data_null(), PageUnreadable)],
)  # fmt: skip
async def test_a_reading_cut_short_keeps_what_it_recorded_and_does_not_move_the_watermark(
    alloy: FakeAlloy, tmp_path: Path, fault: Any, exception_type: type[SourceError]
) -> None:
    async with reader_harness(alloy, tmp_path) as it:
        for number in range(5):
            it.add(f"{number}", ago=MINUTE * (5 - number))
        alloy.always(lambda request: fault if request.query["page"] == "1" else None)
        with pytest.raises(exception_type):
            await it.read()
        assert await it.recorded() == ["2", "3", "4"]
        assert await it.checkpoint() == Checkpoint()
        alloy.clear()
        it.clock.advance(3600)
        assert await it.read() == ["0", "1"]


async def test_pages_that_repeat_for_ever_cut_the_reading_short(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path) as it:
        for number in range(5):
            it.add(f"{number}", ago=MINUTE * (5 - number))
        alloy.always(faults.repeating(alloy))
        with pytest.raises(PageUnreadable, match="again and again"):
            await it.read()
        assert it.pages() == ["0", "1", "2"]


@pytest.mark.parametrize("base", [0, 1])
async def test_pages_that_shift_while_they_are_read_hide_nothing(tmp_path: Path, base: int) -> None:
    with FakeAlloy(now=api_now, page_base=base) as alloy:
        async with reader_harness(alloy, tmp_path) as it:
            for number in range(9):
                it.add(f"{number}", ago=MINUTE * (9 - number))
            newer = (execution("failed-block", id=f"new-{number}", started=it.clock.now()) for number in count())
            alloy.always(faults.shifting(alloy.api, WORKFLOW, lambda: next(newer)))
            first = await it.read()
            assert set(first) >= {str(number) for number in range(9)}
            alloy.clear()
            assert set(first) | set(await it.read()) == alloy.api.listed_ids


@pytest.mark.parametrize("max_page_records", [1, 2, 3])
@pytest.mark.parametrize("broken", range(5))
async def test_a_broken_record_is_refused_alone_however_few_a_page_holds(
    alloy: FakeAlloy, tmp_path: Path, broken: int, max_page_records: int
) -> None:
    async with reader_harness(alloy, tmp_path) as it:
        for number in range(5):
            it.add(f"{number}", ago=MINUTE * (5 - number), raw=BROKEN if number == broken else None)
        alloy.always(faults.short(alloy, max_page_records))
        assert await it.read() == [str(number) for number in range(5) if number != broken]
        assert (await it.checkpoint()).watermark is not None


BAD = [BROKEN, b'{"status": "failed"}', b"null"]


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("raw", BAD)
async def test_page_after_page_of_bad_records_does_not_stop_a_feed(
    alloy: FakeAlloy, tmp_path: Path, raw: bytes, size: int
) -> None:
    async with reader_harness(alloy, tmp_path, page_size=size) as it:
        it.add("old", ago=HOUR)
        for number in range(8):
            it.add(f"bad-{number}", ago=MINUTE * (10 - number), raw=raw)
        it.add("new")
        assert await it.read() == ["new", "old"]


async def test_a_listing_of_nothing_but_bad_records_cuts_the_reading_short(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with reader_harness(alloy, tmp_path) as it:
        for number in range(100):
            it.add(f"bad-{number}", raw=b'{"id": %d}' % number)
        with pytest.raises(PageUnreadable):
            await it.read()
        assert len(it.pages()) < 20
