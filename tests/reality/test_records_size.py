"""A record of 60 MB with a Buffer in the form of numbers takes bounded memory."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.harness import detail
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import PROGRAM, Installation

MAX_PEAK_KIBIBYTES = 512 << 10
NUMBERS = 15_000_000


def _rows() -> bytes:
    return b"[" + b",".join([b'{"order":12345,"paid":true,"note":"a b c"}'] * 1_300_000) + b"]"


def _high_water(pid: int) -> int:
    """Return the peak of resident memory in KiB, 0 for a process that has ended."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


PAYLOADS: dict[str, Callable[[], bytes]] = {
    "buffer": lambda: b'{"type":"Buffer","data":[' + b"137," * NUMBERS + b"0]}",
    "numbers": lambda: b"[[" + b"1, 2,3," * (NUMBERS // 2) + b"0]]",
    "matrix": lambda: b"[" + b"[12,13,14]," * 5_000_000 + b"[]]",
    "rows": _rows,
}


@pytest.mark.parametrize(
    "payload", [pytest.param(payload, marks=() if payload == "buffer" else pytest.mark.long) for payload in PAYLOADS]
)
def test_record_of_60_mb_takes_bounded_memory(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, payload: str
) -> None:
    times = b'"startedAt":"2026-11-20T03:12:40Z","stoppedAt":"2026-11-20T03:12:59Z"'
    block = b'{"blockId":"b","error":{"message":"boom"},"data":[[{"json":{"file":' + PAYLOADS[payload]() + b"}}]]}"
    raw = b'{"executionId":"big",' + times + b',"results":[' + block + b"]}"
    alloy.api.add("w", {"executionId": "big", "startedAt": "2026-11-20T03:12:40Z"}, raw=raw)
    installation.change("source", timeout="60s")
    command = [*PROGRAM, "-c", str(installation.settings_file), "once"]
    process = subprocess.Popen(command, env=installation.environment(), cwd=installation.directory)  # noqa: S603  # the program under test
    peak = 0
    while process.poll() is None:  # the high-water mark only rises, and is gone when the process has ended
        peak = max(peak, _high_water(process.pid))
        time.sleep(0.02)
    assert process.returncode == 0
    event = detail(bus, "big")
    assert event["error"] == {"message": "boom", "blockId": "b"}
    assert event["trimmed"]["largeValues"] is True
    assert 0 < peak < MAX_PEAK_KIBIBYTES
