"""The real daemon as a separate process, which also measures how long its event loop is blocked.

    with start_daemon(home, api.url, bus.url, workflows=api.workflows) as it:
        daemon.wait_until_settled(100_000)
        daemon.blocked()      # the maximum, in milliseconds

The process takes the settings file, prints its process id, and answers each line of its input with the longest time in
milliseconds that a due task had to wait since the previous line.
"""

import asyncio
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from forwarder.clock import Clock, SystemClock
from forwarder.daemon import run
from forwarder.ledger import Counters
from forwarder.settings import ConfigSource
from forwarder.vault import ALLOY_API_KEY
from tests.benchmarks.line_process import LineProcess, start_process
from tests.harness.installation import Installation

TICK_SECONDS = 0.002
SECRETS = {
    ALLOY_API_KEY: "planted-alloy-key",
    "aws-access-key-id": "AKIAPLANTED000000001",
    "aws-secret-access-key": "planted/secret+key/0001",
}
STORM: dict[str, dict[str, Any]] = {
    "source": {
        "start_from": "beginning",
        "requests_per_second": 1000.0,
        "min_interval": "1h",
        "max_interval": "1h",
        "timeout": "30s",
    },
    "destination": {"timeout": "30s", "event_bus": "bench", "region": "eu-central-1"},
    "web": {"listen": ""},
    "run": {"log_level": "error"},
}
"""The settings to poll each feed once, at full speed."""


class Daemon:
    """The benchmark's handle of the daemon."""

    def __init__(self, process: LineProcess, ledger: Path) -> None:
        self._process = process
        self._ledger = ledger
        self.pid = int(process.read())

    def blocked(self) -> float:
        """Return the longest time that the event loop was blocked since the last call, in milliseconds."""
        return float(self._process.request("blocked"))

    def counters(self) -> Counters:
        """Read the counters at little cost, because the daemon is being measured."""
        if not self._ledger.exists():
            return Counters()
        with closing(sqlite3.connect(f"file:{self._ledger}?mode=ro", uri=True)) as db:
            try:
                return Counters(**dict(db.execute("SELECT name, value FROM counters")))
            except sqlite3.OperationalError:  # the ledger is being created
                return Counters()

    def wait_until_settled(self, failures: int, *, within: float = 600.0) -> None:
        """Wait until so many failures are recorded, and none is pending. Raise TimeoutError if they are not."""
        self.wait_until(lambda counters: counters.recorded == failures and counters.pending == 0, within=within)

    def wait_until(self, true: Any, *, within: float) -> Counters:
        end = time.monotonic() + within
        while not true(counters := self.counters()):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {within:.0f} s: {counters}")
            time.sleep(0.05)
        return counters

    def memory(self, what: str = "VmRSS") -> float:
        """Return the memory in MiB: VmRSS for the present, VmHWM for the maximum."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition(f"{what}:")[2].split()[0]) / 1024

    def cpu_seconds(self) -> float:
        """Return the processor time in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def bytes_written(self) -> int:
        """Return the bytes written to the disk."""
        io = Path(f"/proc/{self.pid}/io").read_text()
        return int(io.partition("write_bytes:")[2].split()[0])


class BenchmarkInstallation(Installation):
    """An installation whose list of feeds may be long."""

    def text(self, **top: Any) -> str:
        """Return the settings file. A list of strings is the same in JSON, which is written much faster."""
        source = self.settings["source"]
        text = super().text(**top | {"source": source | {"workflows": []}})
        return text.replace("workflows = []", f"workflows = {json.dumps(source['workflows'])}")


def create_installation(
    directory: Path, api: str, bus: str, workflows: Sequence[str], **changes: dict[str, Any]
) -> Installation:
    """Return an installation with a vault. `changes` are settings by section."""
    sections = {name: section | changes.get(name, {}) for name, section in {"ledger": {}, **STORM}.items()}
    sections["source"]["workflows"] = list(workflows)
    installation = BenchmarkInstallation(directory, alloy=api, bus=bus, **sections)
    if not installation.master_key_file.exists():
        installation.create_vault(SECRETS)
    return installation


@contextmanager
def start_daemon(
    directory: Path,
    api: str,
    bus: str,
    *,
    workflows: Sequence[str],
    measure_blocking: bool = False,
    speed: float = 1.0,
    **changes: dict[str, Any],
) -> Iterator[Daemon]:
    """Start the daemon, with a clock that runs `speed` times as fast as real time.

    With `measure_blocking`, it measures its event loop. `changes` are settings by section. The log is printed only if
    the benchmark fails, because some benchmarks cause warnings on purpose, without feeds or without a bus.
    """
    file = create_installation(directory, api, bus, workflows, **changes).settings_file
    command = [
        sys.executable,
        "-m",
        __name__,
        str(file),
        str(speed),
        *(["--measure-blocking"] if measure_blocking else []),
    ]
    with (directory / "daemon.log").open("w+") as log:
        try:
            with start_process(command, log=log) as process:
                yield Daemon(process, directory / "forwarder.db")
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read())
            raise


class FastClock(SystemClock):
    """A clock that runs `speed` times as fast as real time."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._began = (time.monotonic(), datetime.now(UTC))

    def now(self) -> datetime:
        began, at = self._began
        return at + timedelta(seconds=(time.monotonic() - began) * self._speed)

    def monotonic(self) -> float:
        return time.monotonic() * self._speed

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / self._speed)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        return await super().wait(event, seconds / self._speed)


async def _serve(file: Path, clock: Clock, *, ticks: bool) -> None:
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        while True:
            due = time.perf_counter() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            worst = max(worst, time.perf_counter() - due)

    measure_blocking = asyncio.create_task(tick() if ticks else asyncio.sleep(0))
    running = asyncio.create_task(run(ConfigSource(file, {}), clock))
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        sys.stdout.write(f"{worst * 1000:.3f}\n")
        sys.stdout.flush()
        worst = 0.0
    os.kill(os.getpid(), 15)  # SIGTERM makes the daemon drain
    await running
    measure_blocking.cancel()


if __name__ == "__main__":
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    asyncio.run(_serve(Path(sys.argv[1]), FastClock(float(sys.argv[2])), ticks="--measure-blocking" in sys.argv))
