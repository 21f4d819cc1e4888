"""Memory: constant with a backlog of a million entries, during a day's outage of the bus and after it.

The daemon's clock is so fast that the day passes in a minute. Requests and their cost are unchanged. Then the bus
returns, and the backlog is sent.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.backlog import create_backlog
from tests.benchmarks.bench import Bench
from tests.benchmarks.daemon import Daemon, start_daemon
from tests.benchmarks.sink import start_sink

GOALS = (3,)

DAY_SECONDS = 86_400
MAX_DEVIATION_PERCENT = 10


def run(bench: Bench) -> None:
    entries = 20_000 if bench.quick else 1_000_000
    seconds = 4 if bench.quick else 30
    with TemporaryDirectory() as folder, start_sink() as bus, closed_address() as nobody:
        file = create_backlog(Path(folder) / "forwarder.db", entries)
        with start_daemon(Path(folder), nobody, nobody, workflows=[], speed=DAY_SECONDS / seconds) as daemon:
            through_a_day = sample_memory(daemon, seconds)
            assert daemon.counters().pending == entries
        with start_daemon(Path(folder), nobody, bus.url, workflows=[]) as daemon:
            daemon.wait_until(lambda counters: counters.sent > 0, within=60)
            while_sending = sample_memory(daemon, seconds)
        left = f"{file.stat().st_size / 2**20:,.0f} MiB of ledger"
    points = {"bus down for a day": through_a_day, "sending": while_sending}
    lines = {name: [(float(at), rss) for at, rss in enumerate(samples, 1)] for name, samples in points.items()}
    bench.curve(f"memory, {entries:,} pending entries of 1 KB", "sample", "MiB", lines)
    bench.note(left)
    for name, samples in points.items():
        middle = sorted(samples)[len(samples) // 2]
        off = 100 * max(max(samples) - middle, middle - min(samples)) / middle
        bench.goal(
            3, f"{entries:,} pending, {name}: {middle:.0f} MiB, deviation", off, unit="%", at_most=MAX_DEVIATION_PERCENT
        )


def sample_memory(daemon: Daemon, seconds: float, samples: int = 20) -> list[float]:
    """Return samples of the daemon's memory in MiB, after its start."""
    time.sleep(2)
    found = []
    for _ in range(samples):
        time.sleep((seconds - 2) / samples)
        found.append(daemon.memory())
    return found


@contextmanager
def closed_address() -> Iterator[str]:
    """Yield an address that refuses connections: its port is bound, without a listener."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
