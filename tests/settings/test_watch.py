"""Every change of a watched file is detected, but not while the file is being written."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from forwarder.settings.watch import CHECK_INTERVAL_SECONDS, STABLE_SECONDS, FileWatch
from tests.virtual_clock import QuickClock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "forwarder.toml"
    file.write_text("enabled = true\n")
    return file


async def is_detected(watch: FileWatch, clock: QuickClock, seconds: float = 1) -> bool:
    """Return whether a change is detected within this time of the clock."""
    detection = asyncio.create_task(watch.changed(clock))
    timeout = asyncio.create_task(clock.sleep(seconds))
    await asyncio.wait([detection, timeout], return_when=asyncio.FIRST_COMPLETED)
    detected = detection.done()
    for task in (detection, timeout):
        task.cancel()
    await asyncio.gather(detection, timeout, return_exceptions=True)
    return detected


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
async def test_change_is_detected_once_within_a_second(file: Path, change: Callable[[Path], object]) -> None:
    clock, watch = QuickClock(), FileWatch([file.with_name("other-file"), file])
    assert not await is_detected(watch, clock, 5)
    change(file)
    assert await is_detected(watch, clock)
    assert not await is_detected(watch, clock, 5)


async def test_changed_link_target_and_swapped_link_are_detected(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "forwarder.toml").write_text("same\n")
    current = tmp_path / "current"
    current.symlink_to("a")
    clock, watch = QuickClock(), FileWatch([current / "forwarder.toml"])
    (tmp_path / "a" / "forwarder.toml").write_text("new\n")
    assert await is_detected(watch, clock)
    (tmp_path / "next").symlink_to("b")  # Kubernetes swaps mounted volumes this way
    (tmp_path / "next").rename(current)
    assert await is_detected(watch, clock)


async def test_created_file_is_detected(tmp_path: Path) -> None:
    clock, watch = QuickClock(), FileWatch([tmp_path / "late"])
    assert not await is_detected(watch, clock, 5)
    (tmp_path / "late").touch()
    assert await is_detected(watch, clock)


async def test_file_being_written_is_detected_when_complete(file: Path) -> None:
    clock, watch = QuickClock(), FileWatch([file])
    detection = asyncio.create_task(watch.changed(clock))
    for line in range(20):
        with file.open("a") as writer:
            writer.write(f"# {line}\n")
        await clock.sleep(STABLE_SECONDS * 0.9)
        assert not detection.done()
    await asyncio.wait_for(detection, 5)


def test_interval_and_settling_take_less_than_a_second() -> None:
    assert CHECK_INTERVAL_SECONDS + 2 * STABLE_SECONDS < 1
