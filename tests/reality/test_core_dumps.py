"""The keys stay out of core dumps: the process is not dumpable, because a piped core_pattern ignores the limit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.environment import Environment

STATE = """
import ctypes, resource
from forwarder.vault.memory import forbid_core_dumps
forbid_core_dumps()
print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""
"""A program that prints the dumpable attribute of its process. 3 is PR_GET_DUMPABLE."""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_process_that_forbids_core_dumps_is_not_dumpable() -> None:
    done = subprocess.run([sys.executable, "-c", STATE], capture_output=True, text=True, check=True)  # noqa: S603  # ours
    assert done.stdout.split() == ["0", "0"]


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="limits of others are read in /proc")
def test_daemon_leaves_no_core_dump(environment: Environment) -> None:
    with environment.installation.start() as daemon:
        daemon.wait_until(daemon.has_started)
        limits = Path(f"/proc/{daemon.pid}/limits").read_text()
        (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert line.split()[4] == "0"
        if os.geteuid() != 0:  # what is in /proc of a process that is not dumpable belongs to root
            assert Path(f"/proc/{daemon.pid}/environ").stat().st_uid == 0
        assert daemon.stop() == 0
