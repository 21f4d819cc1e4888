"""The faults of the operating system: a full disk, missing permissions, no descriptors, and no reader of the log.

The daemon is the real one, with the machine's clock.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.fakes import bus_faults
from tests.fakes.actions import Hang
from tests.faults.environment import Environment, numbered_ids, start_environment
from tests.harness.installation import FORWARDER, ROOT
from tests.harness.process import ForwarderProcess, eventually

LIBC: Final = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "disk"
    directory.mkdir()
    if LIBC.mount(b"tmpfs", bytes(directory), b"tmpfs", 0, b"size=8m") != 0:
        pytest.skip(f"a small file system cannot be mounted: {os.strerror(ctypes.get_errno())}")
    try:
        yield directory
    finally:
        LIBC.umount2(bytes(directory), 2)


# A full disk.


def test_full_disk_loses_none_and_sends_none_twice(small_disk: Path) -> None:
    """The log is on the same disk, and cannot be written either."""
    ids = numbered_ids(30)
    with start_environment(small_disk) as environment, environment.installation.start() as daemon:
        environment.fail("before")
        daemon.wait_until(environment.has("before"))
        filler = small_disk / "filler"
        fill(filler)
        environment.fail(*ids, size=60_000)
        before = len(environment.alloy.requests)
        daemon.wait_until(lambda: len(environment.alloy.requests) > before + 8)
        filler.unlink()
        daemon.wait_until(environment.has(*ids))
        assert environment.sent() == sorted(["before", *ids])
        assert daemon.stop() == 0


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


def test_file_size_limit_loses_none_and_sends_none_twice(environment: Environment, running: ForwarderProcess) -> None:
    ids = numbered_ids(20)
    environment.fail("before")
    running.wait_until(environment.has("before"))
    with limited(running, resource.RLIMIT_FSIZE, 4096):
        environment.fail(*ids, size=20_000)
        running.wait_until(lambda: running.has_logged("ledger", "FAILED"))
    running.wait_until(environment.has(*ids))
    assert environment.sent() == sorted(["before", *ids])


def test_unsaved_response_is_settled_later_and_not_resent(environment: Environment, running: ForwarderProcess) -> None:
    """A response that cannot be saved is settled when the ledger can be written again."""
    environment.bridge.next(bus_faults.hang(0.5, delivered=True))
    environment.fail("x", size=2000)
    running.wait_until(environment.has("x"))
    with limited(running, resource.RLIMIT_FSIZE, 4096):
        running.wait_until(lambda: running.has_logged("ledger", "FAILED"))
        environment.fail("y")
    running.wait_until(environment.has("x", "y"))
    assert environment.sent() == ["x", "y"]


# Missing permissions.


@pytest.fixture
def unprivileged() -> tuple[str, ...]:
    """Return a prefix for commands that makes permissions effective. Root needs it, without these capabilities."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root needs setpriv to drop its capabilities")
    return "setpriv", "--bounding-set=-dac_override,-dac_read_search"


@contextlib.contextmanager
def read_only(directory: Path) -> Iterator[None]:
    directory.chmod(0o555)
    try:
        yield
    finally:
        directory.chmod(0o755)


def test_read_only_folder_refuses_the_start_with_a_hint(
    environment: Environment, unprivileged: tuple[str, ...]
) -> None:
    with read_only(environment.installation.directory):
        done = environment.installation.run_command("run", through=unprivileged)
    assert done.code == 75, done.err
    assert "Permission denied" in done.err
    assert "hint:" in done.err


def test_disable_in_read_only_folder_changes_nothing(environment: Environment, unprivileged: tuple[str, ...]) -> None:
    before = environment.installation.settings_file.read_bytes()
    with read_only(environment.installation.directory):
        done = environment.installation.run_command("disable", through=unprivileged)
    assert done.code == 78, done.err
    assert "cannot be written" in done.err
    assert environment.installation.settings_file.read_bytes() == before


def test_folder_that_becomes_read_only_stops_nothing(environment: Environment, unprivileged: tuple[str, ...]) -> None:
    with environment.installation.start(through=unprivileged) as daemon:
        environment.fail("before")
        daemon.wait_until(environment.has("before"))
        with read_only(environment.installation.directory):
            environment.fail("after")
            daemon.wait_until(environment.has("after"))
        assert daemon.stop() == 0
    assert environment.sent() == ["after", "before"]


# No descriptors.


def test_missing_descriptors_delay_and_lose_nothing(environment: Environment, running: ForwarderProcess) -> None:
    """A process without free descriptors continues when it has some again."""
    environment.fail("before")
    running.wait_until(environment.has("before"))
    with limited(running, resource.RLIMIT_NOFILE, 5):
        # Closed connections must be opened again, and cannot be.
        environment.alloy.next(*[Hang(0)] * 8)
        environment.bridge.next(bus_faults.closed_after(delivered=False))
        running.wait_until(lambda: running.has_logged("poll aborted"))
        environment.fail("after")
    running.wait_until(environment.has("after"))
    assert environment.sent() == ["after", "before"]


@contextlib.contextmanager
def limited(daemon: ForwarderProcess, what: int, soft: int) -> Iterator[None]:
    """Limit a resource of the running process during the context."""
    before = resource.prlimit(daemon.pid, what)
    resource.prlimit(daemon.pid, what, (soft, before[1]))
    try:
        yield
    finally:
        resource.prlimit(daemon.pid, what, before)


# No reader of the log.


def test_log_without_reader_stops_nothing(environment: Environment) -> None:
    """A closed pipe of the log stops neither forwarding nor the reload of settings."""
    reads, writes = os.pipe()
    process = subprocess.Popen(  # noqa: S603 - the program under test
        [sys.executable, "-m", FORWARDER, "-c", str(environment.installation.settings_file), "run"],
        stderr=writes,
        env=environment.installation.environment(),
        cwd=ROOT,
    )
    daemon = ForwarderProcess(process, environment.installation.directory / "no-log")
    os.close(writes)
    with daemon:
        environment.fail("before")
        assert eventually(environment.has("before"))
        os.close(reads)
        environment.fail("after")
        assert eventually(environment.has("after"))
        environment.installation.change("event", detail_type="Changed")
        numbers = itertools.count()

        def is_changed() -> bool:
            environment.fail(f"changed-{next(numbers)}")
            return bool(environment.bridge.delivered[-1].entry["DetailType"] == "Changed")

        assert eventually(is_changed)
        assert daemon.stop() == 0
