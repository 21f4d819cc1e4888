"""The page: the cost of its readers for delivery."""

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
from tests.benchmarks.bench_publishing import sample_detail
from tests.benchmarks.comparison import Turn
from tests.benchmarks.line_process import LineProcess
from tests.benchmarks.sink import Sink, start_sink
from tests.benchmarks.web_clients import READERS_OF_SESSION, readers
from tests.e2e.web_client import log_in, metric, web_address
from tests.fakes.alloy import FakeAlloy
from tests.harness.installation import Installation
from tests.harness.process import eventually

GOALS = (8,)

READERS = 200
PAUSE_SECONDS = 5.0
"""The time between two loads of one reader."""

WATCH = f"{READERS} readers of the stream"
READ = f"{READERS} readers, a load every {PAUSE_SECONDS:.0f} s"
RELOAD = f"{READERS} readers, loads without a pause"

MIN_RATIO = 0.8
MAX_TURN_FACTOR = 4
FEED = Feed("w")


def run(bench: Bench) -> None:
    _readers(bench)


def _readers(bench: Bench) -> None:
    entries = 1_500 if bench.quick else 3_000
    with FakeAlloy() as alloy, start_sink() as bus, temporary_installation(alloy.url, bus.url) as installation:
        alloy.api.add_workflow(FEED.workflow_id)
        installation.change("source", min_interval="1h", max_interval="1h")
        asyncio.run(_create_ledger(installation.directory / "forwarder.db", entries))
        with installation.start() as daemon:
            page = web_address(daemon)
            token = installation.run_command("web", "create-token").out.strip()
            cookies = [log_in(page, token) for _ in range(READERS // READERS_OF_SESSION)]
            daemon.wait_until(lambda: metric(page, "events_sent_total") == entries, within=60)
            delivery = Delivery(installation.directory / "forwarder.db", bus, entries)
            with readers(page, cookies) as clients:

                def beside(command: str) -> Turn:
                    return lambda seconds: delivery.turn(seconds, clients, command)

                contestants: dict[str, Turn] = {
                    "no readers": delivery.turn,
                    WATCH: beside(f"watch {READERS}"),
                    READ: beside(f"read {READERS} {PAUSE_SECONDS}"),
                }
                if not bench.quick:
                    contestants[RELOAD] = beside(f"read {READERS} 0")
                result = bench.compare("Delivery beside readers of the page", "events/s", contestants)
    bench.note("readers and bus share the cores with the forwarder")
    bench.goal(8, f"delivery beside {WATCH}", result.ratio(WATCH, "no readers"), at_least=MIN_RATIO)


async def _create_ledger(file: Path, entries: int) -> None:
    now = SystemClock().now()
    detail = json.dumps({**json.loads(sample_detail(1024)), "forwarder": {}}).encode()
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.add_feeds({FEED: Checkpoint(watermark=now, full_scan_at=now)})
        entries_ = [Entry(f"e-{number}", FEED, now, detail) for number in range(entries)]
        await ledger.record(FEED, entries_, now=now)


@dataclass(frozen=True)
class Delivery:
    """The delivery of sent entries, which are replayed in each turn."""

    file: Path
    bus: Sink
    entries: int

    def turn(self, seconds: float, clients: LineProcess | None = None, command: str = "") -> float:
        """Return the rate after the first tenth, beside the clients, in at most MAX_TURN_FACTOR times the seconds."""
        if clients is not None:
            clients.request(command)
        before = self.bus.accepted_count()
        asyncio.run(self._replay())
        assert eventually(lambda: self.bus.accepted_count() >= before + self.entries // 10)
        began, first = time.perf_counter(), self.bus.accepted_count()
        while (
            accepted_count := self.bus.accepted_count()
        ) < before + self.entries and time.perf_counter() - began < MAX_TURN_FACTOR * seconds:
            time.sleep(0.001)
        rate = (accepted_count - first) / (time.perf_counter() - began)
        if clients is not None:
            clients.request("stop")
        assert eventually(lambda: asyncio.run(self._count_pending()) == 0, within=60)
        return rate

    async def _replay(self) -> None:
        now = SystemClock().now()
        async with SqliteLedger(self.file) as ledger:
            entries_ = await ledger.replay(TimeWindow(now - timedelta(days=1), now + timedelta(days=1)), now=now)
        assert entries_ == self.entries, entries_

    async def _count_pending(self) -> int:
        async with SqliteLedger(self.file) as ledger:
            return (await ledger.counters()).pending


@contextmanager
def temporary_installation(alloy: str, bus: str) -> Iterator[Installation]:
    """Yield an installation with a vault, whose web UI listens on any free port."""
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation(Path(folder), alloy=alloy, bus=bus, web={"listen": "127.0.0.1:0"})
        installation.create_vault()
        yield installation
