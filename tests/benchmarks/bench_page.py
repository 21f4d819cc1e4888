"""The page: what its readers cost delivery."""

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from forwarder.clock import SystemClock
from forwarder.ledger import SqliteLedger, TimeWindow
from forwarder.model import Checkpoint, Entry, Feed
from tests.benchmarks.bench import Bench
from tests.benchmarks.bench_publishing import a_detail
from tests.benchmarks.comparison import Turn
from tests.benchmarks.line_process import Peer
from tests.benchmarks.sink import Sink, sink
from tests.benchmarks.web_clients import readers
from tests.e2e.web_client import log_in, metric, web_address
from tests.fakes.alloy import FakeAlloy
from tests.harness.installation import Installation
from tests.harness.process import eventually

GOALS = (8,)

READERS = 200
PAUSE = 5.0
"""Seconds between two loads of one reader."""

WATCH = f"{READERS} who watch it"
READ = f"{READERS} who load it every {PAUSE:.0f} s"
PRESS = f"{READERS} who load it without a pause"

LEAST_LEFT = 0.8
LONGEST = 4
FEED = Feed("w")


def run(bench: Bench) -> None:
    _readers(bench)


def _readers(bench: Bench) -> None:
    entries = 1_500 if bench.quick else 3_000
    with FakeAlloy() as alloy, sink() as bus, temporary_installation(alloy.url, bus.url) as installation:
        alloy.api.add_workflow(FEED.workflow_id)
        installation.change("source", min_interval="1h", max_interval="1h")
        asyncio.run(_filled(installation.directory / "forwarder.db", entries))
        with installation.start() as daemon:
            page = web_address(daemon)
            cookie = log_in(page, installation.run_command("web", "create-token").out.strip())
            daemon.wait_until(lambda: metric(page, "events_sent_total") == entries, within=60)
            delivery = Delivery(installation.directory / "forwarder.db", bus, entries)
            with readers(page, cookie) as people:

                def beside(doing: str) -> Turn:
                    return lambda seconds: delivery.turn(seconds, people, doing)

                contestants: dict[str, Turn] = {
                    "nobody reads": delivery.turn,
                    WATCH: beside(f"watch {READERS}"),
                    READ: beside(f"read {READERS} {PAUSE}"),
                }
                if not bench.quick:
                    contestants[PRESS] = beside(f"read {READERS} 0")
                held = bench.compare("Delivery beside readers of the page", "events/s", contestants)
    bench.note("readers and bus share the cores with the forwarder")
    bench.goal(8, f"delivery beside {WATCH}", held.ratio(WATCH, "nobody reads"), at_least=LEAST_LEFT)


async def _filled(file: Path, entries: int) -> None:
    now = SystemClock().now()
    detail = json.dumps({**json.loads(a_detail(1024)), "forwarder": {}}).encode()
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.add_feeds({FEED: Checkpoint(watermark=now, full_scan_at=now)})
        owed = [Entry(f"e-{number}", FEED, now, detail) for number in range(entries)]
        await ledger.record(FEED, owed, now=now)


@dataclass(frozen=True)
class Delivery:
    """Of entries that were sent, and are owed again and again."""

    file: Path
    bus: Sink
    entries: int

    def turn(self, seconds: float, people: Peer | None = None, doing: str = "") -> float:
        """The rate, once it is under way, for at most `LONGEST` times the seconds; beside people who do this."""
        if people is not None:
            people.ask(doing)
        before = self.bus.taken()
        asyncio.run(self._owe())
        assert eventually(lambda: self.bus.taken() >= before + self.entries // 10)
        began, first = time.perf_counter(), self.bus.taken()
        while (taken := self.bus.taken()) < before + self.entries and time.perf_counter() - began < LONGEST * seconds:
            time.sleep(0.001)
        rate = (taken - first) / (time.perf_counter() - began)
        if people is not None:
            people.ask("rest")
        assert eventually(lambda: asyncio.run(self._owed()) == 0, within=60)
        return rate

    async def _owe(self) -> None:
        now = SystemClock().now()
        async with SqliteLedger(self.file) as ledger:
            owed = await ledger.replay(TimeWindow(now - timedelta(days=1), now + timedelta(days=1)), now=now)
        assert owed == self.entries, owed

    async def _owed(self) -> int:
        async with SqliteLedger(self.file) as ledger:
            return (await ledger.counters()).pending


@contextmanager
def temporary_installation(alloy: str, bus: str) -> Iterator[Installation]:
    """Yield an installation with a vault, whose web UI listens on any free port."""
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation(Path(folder), alloy=alloy, bus=bus, web={"listen": "127.0.0.1:0"})
        installation.create_vault()
        yield installation
