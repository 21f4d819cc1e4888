"""Every way in which a file changes is noticed, and none while it is being written."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from forwarder.settings.watch import CHECK_INTERVAL_SECONDS, SETTLE_SECONDS, FileWatch
from tests.virtual_clock import QuickClock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "forwarder.toml"
    file.write_text("enabled = true\n")
    return file


async def is_noticed(watch: FileWatch, clock: QuickClock, seconds: float = 1) -> bool:
    """Within so many seconds of the clock."""
    noticing = asyncio.create_task(watch.changed(clock))
    timing = asyncio.create_task(clock.sleep(seconds))
    await asyncio.wait([noticing, timing], return_when=asyncio.FIRST_COMPLETED)
    noticed = noticing.done()
    for task in (noticing, timing):
        task.cancel()
    await asyncio.gather(noticing, timing, return_exceptions=True)
    return noticed


def renamed_over(file: Path) -> None:
    other = file.with_name("other")
    other.write_text(file.read_text())
    other.rename(file)


def touched(file: Path) -> None:
    os.utime(file, ns=(0, 0))


def linked(file: Path) -> None:
    target = file.with_name("target")
    target.write_text("enabled = true\n")
    file.unlink()
    file.symlink_to(target)


CHANGES: list[Callable[[Path], object]] = [
    lambda file: file.write_text("enabled = fals\n"),
    lambda file: file.write_text("enabled = false\n"),
    lambda file: file.write_text(""),
    lambda file: file.unlink(),
    lambda file: file.chmod(0o600),
    renamed_over,
    touched,
    linked,
]


@pytest.mark.parametrize("change", CHANGES)
async def test_each_change_is_noticed_once_and_within_a_second(file: Path, change: Callable[[Path], object]) -> None:
    clock, watch = QuickClock(), FileWatch([file.with_name("other-file"), file])
    assert not await is_noticed(watch, clock, 5)
    change(file)
    assert await is_noticed(watch, clock)
    assert not await is_noticed(watch, clock, 5)


async def test_a_change_at_the_end_of_a_link_and_a_swapped_link_are_noticed(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "forwarder.toml").write_text("same\n")
    current = tmp_path / "current"
    current.symlink_to("a")
    clock, watch = QuickClock(), FileWatch([current / "forwarder.toml"])
    (tmp_path / "a" / "forwarder.toml").write_text("new\n")
    assert await is_noticed(watch, clock)
    (tmp_path / "next").symlink_to("b")  # as a mounted volume is swapped
    (tmp_path / "next").rename(current)
    assert await is_noticed(watch, clock)


async def test_a_file_that_comes_is_noticed(tmp_path: Path) -> None:
    clock, watch = QuickClock(), FileWatch([tmp_path / "late"])
    assert not await is_noticed(watch, clock, 5)
    (tmp_path / "late").touch()
    assert await is_noticed(watch, clock)


async def test_a_file_that_is_still_being_written_is_waited_for(file: Path) -> None:
    clock, watch = QuickClock(), FileWatch([file])
    noticing = asyncio.create_task(watch.changed(clock))
    for line in range(20):
        with file.open("a") as writer:
            writer.write(f"# {line}\n")
        await clock.sleep(SETTLE_SECONDS * 0.9)
        assert not noticing.done()
    await asyncio.wait_for(noticing, 5)


def test_a_look_and_its_pause_are_well_within_a_second() -> None:
    assert CHECK_INTERVAL_SECONDS + 2 * SETTLE_SECONDS < 1
