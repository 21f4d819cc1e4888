"""Memory: flat through a backlog of a million, and through a bus that is dead for a day.

The daemon's clock runs so fast that the day passes in a minute; requests, and what they cost, are as always. Then the
bus comes back, and the backlog is sent.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.backlog import owe
from tests.benchmarks.bench import Bench
from tests.benchmarks.daemon import Daemon, daemon
from tests.benchmarks.sink import sink

GOALS = (3,)

DAY = 86_400
SPREAD = 10


def run(bench: Bench) -> None:
    entries = 20_000 if bench.quick else 1_000_000
    seconds = 4 if bench.quick else 30
    with TemporaryDirectory() as folder, sink() as bus, dead() as nobody:
        file = owe(Path(folder) / "forwarder.db", entries)
        with daemon(Path(folder), nobody, nobody, workflows=[], speed=DAY / seconds) as it:
            through_a_day = sampled(it, seconds)
            assert it.books().pending == entries
        with daemon(Path(folder), nobody, bus.url, workflows=[]) as it:
            it.until(lambda books: books.sent > 0, within=60)
            while_sending = sampled(it, seconds)
        left = f"{file.stat().st_size / 2**20:,.0f} MiB of ledger"
    points = {"bus dead for a day": through_a_day, "sending": while_sending}
    lines = {name: [(float(at), rss) for at, rss in enumerate(samples, 1)] for name, samples in points.items()}
    bench.curve(f"memory, {entries:,} entries of 1 KB owed", "sample", "MiB", lines)
    bench.note(left)
    for name, samples in points.items():
        middle = sorted(samples)[len(samples) // 2]
        off = 100 * max(max(samples) - middle, middle - min(samples)) / middle
        bench.goal(3, f"{entries:,} owed, {name}: {middle:.0f} MiB, at most off by", off, unit="%", at_most=SPREAD)


def sampled(it: Daemon, seconds: float, samples: int = 20) -> list[float]:
    """Its memory in MiB, once it has started."""
    time.sleep(2)
    found = []
    for _ in range(samples):
        time.sleep((seconds - 2) / samples)
        found.append(it.memory())
    return found


@contextmanager
def dead() -> Iterator[str]:
    """An address at which nobody answers: bound, and not listened to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
