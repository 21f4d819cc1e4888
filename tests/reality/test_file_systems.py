"""File systems without the functions that a ledger needs: network shares, shared folders of machines, full disks.

The reports: `No locks available` from NFS without lockd, a permanent `database is locked` on SMB, shared memory that
cannot be mapped, a disk with space and without inodes.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.harness import fail, numbered, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

LOCAL_DISK: Final = "put the ledger on a local disk"

NO_LOCKS: Final = """
import errno, fcntl, os
def flock(descriptor, operation):
    raise OSError(errno.{name}, os.strerror(errno.{name}))
fcntl.flock = flock
"""
"""A sitecustomize module that makes flock(2) fail as on such a file system."""

SHARED_MEMORY: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static int is_shared_memory(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = fd < 0 ? -1 : readlink(link, path, sizeof path - 1);
    return length > 4 && !memcmp(path + length - 4, "-shm", 4);
}
#define REPLACE(NAME) void *NAME(void *a, size_t l, int p, int f, int fd, off_t o) { \
    static void *(*real)(void *, size_t, int, int, int, off_t); \
    if (is_shared_memory(fd)) { errno = ENODEV; return MAP_FAILED; } \
    if (!real) real = (void *(*)(void *, size_t, int, int, int, off_t)) dlsym(RTLD_NEXT, #NAME); \
    return real(a, l, p, f, fd, o); }
REPLACE(mmap)
REPLACE(mmap64)
"""
"""A preloaded library that prevents the mapping of a ledger's shared memory, as on 9p and SMB."""


@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def test_folder_without_locks_is_named_with_a_hint(installation: Installation, tmp_path: Path, name: str) -> None:
    (start := tmp_path / "start").mkdir()
    (start / "sitecustomize.py").write_text(NO_LOCKS.format(name=name))
    assert installation.run_command("once").code == 0
    installation.env["PYTHONPATH"] = str(start)
    for command in ("once", "run", "status", "check"):
        done = installation.run_command(command)
        assert done.code == 1, command
        assert "forwarder.db.lock cannot be acquired" in done.output, command
        assert LOCAL_DISK in done.output, command
    done = installation.run_command("disable")
    assert done.code == 78
    assert "its file system has no locks" in done.err
    assert str(installation.directory) in done.err


def test_refused_shared_memory_is_named(installation: Installation, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    (tmp_path / "shared.c").write_text(SHARED_MEMORY)
    library = tmp_path / "shared.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "shared.c", "-ldl"], check=True)  # noqa: S603 - a file of ours
    installation.env["LD_PRELOAD"] = str(library)
    for command in ("once", "run", "status"):
        done = installation.run_command(command)
        assert done.code == 75, command
        assert LOCAL_DISK in done.err, command
    del installation.env["LD_PRELOAD"]
    assert "was not completed when it was created" in installation.run_command("status").err
    assert installation.run_command("once").code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")
@pytest.mark.parametrize(("options", "fill"), [("size=8m,nr_inodes=12", "inodes"), ("size=400k", "space")])
def test_full_file_system_has_a_hint_that_works(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, tmp_path: Path, options: str, fill: str
) -> None:
    (mounted := tmp_path / "state").mkdir()
    fail(alloy, "kept")
    installation.change("ledger", url=f"sqlite:///{mounted}/forwarder.db")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", mounted], check=True)  # noqa: S603, S607 - a program of the system
    try:
        rubbish = FILL[fill](mounted)
        done = installation.run_command("once")
        assert done.code == 75
        assert "df -i" in done.err
        for each in rubbish:
            each.unlink()
        assert installation.run_command("once").code == 0
        assert sent(bus) == ["kept"]
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)  # noqa: S603, S607 - as above


def use_inodes(folder: Path) -> list[Path]:
    made = []
    try:
        for number in range(100):
            (path := folder / f"small{number}").touch()
            made.append(path)
    except OSError:
        return made
    raise AssertionError("the inodes do not end")


def use_space(folder: Path) -> list[Path]:
    path = folder / "large"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return [path]


FILL: Final[dict[str, Callable[[Path], list[Path]]]] = {"inodes": use_inodes, "space": use_space}


def has_sent(bus: StrictEventBridge, count: int) -> bool:
    return len(sent(bus)) == count


def test_wal_shrinks_after_a_reader_held_a_snapshot(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """A backup, a shell or a database browser prevents complete checkpoints while it reads."""
    ledger = installation.directory / "forwarder.db"
    log = installation.directory / "forwarder.db-wal"
    with installation.start() as daemon:
        fail(alloy, "first")
        daemon.wait_until(lambda: len(sent(bus)) == 1)
        with closing(sqlite3.connect(ledger, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM entries").fetchone()
            count = 1
            while log.stat().st_size <= 24 * 1024 * 1024:
                fail(alloy, *numbered(400, f"n{count}-"))
                count += 400
                daemon.wait_until(partial(has_sent, bus, count), within=60)
        fail(alloy, *numbered(400, "last-"))
        daemon.wait_until(partial(has_sent, bus, count + 400), within=60)
        daemon.wait_until(lambda: log.stat().st_size <= 16 * 1024 * 1024)
