"""The page: what its readers cost delivery."""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from forwarder.clock import SystemClock
from forwarder.ledger import SqliteLedger, Window
from forwarder.model import Checkpoint, Entry, Feed
from tests.benchmarks.bench import Bench
from tests.benchmarks.bench_publishing import a_detail
from tests.benchmarks.contest import Turn
from tests.benchmarks.peer import Peer
from tests.benchmarks.readers import readers
from tests.benchmarks.sink import Sink, sink
from tests.e2e.harness import Home, eventually
from tests.e2e.test_page import address, log_in, metric
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import KEY

GOALS = (8,)

READERS = 200
PAUSE = 5.0
"""Seconds between two loads of one reader."""

LEAST_LEFT = 0.8
FEED = Feed("w")


def run(bench: Bench) -> None:
    _readers(bench)


def _readers(bench: Bench) -> None:
    entries = 2_000 if bench.quick else 10_000
    with FakeAlloy() as alloy, sink() as bus, a_home(alloy.url, bus.url) as home:
        alloy.api.add_workflow(FEED.workflow_id)
        home.change("source", min_interval="1h", max_interval="1h")
        asyncio.run(_filled(home.place / "forwarder.db", entries))
        with home.daemon() as daemon:
            page = address(daemon)
            cookie = log_in(page, home("web", "token").out.strip())
            daemon.until(lambda: metric(page, "events_sent_total") == entries, within=60)
            with readers(page, cookie) as people:
                again = _sent_again(home.place / "forwarder.db", bus, entries)
                contestants: dict[str, Turn] = {
                    "nobody reads": lambda _: again(),
                    f"{READERS} readers": lambda _: _while(people, f"read {READERS} {PAUSE}", again),
                    f"{READERS} readers without a pause": lambda _: _while(people, f"read {READERS} 0", again),
                }
                held = bench.contest("Delivery beside readers of the page", "events/s", contestants)
    bench.note(
        f"a reader loads the page every {PAUSE:.0f} s, or again as soon as it has it; readers and bus share the cores"
    )
    bench.goal(
        8, f"delivery beside {READERS} readers", held.ratio(f"{READERS} readers", "nobody reads"), at_least=LEAST_LEFT
    )


def _while(people: Peer, what: str, work: Callable[[], float]) -> float:
    people.ask(what)
    try:
        return work()
    finally:
        people.ask("rest")


async def _filled(file: Path, entries: int) -> None:
    now = SystemClock().now()
    detail = json.dumps({**json.loads(a_detail(1024)), "forwarder": {}}).encode()
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.begin({FEED: Checkpoint(watermark=now, deep_at=now)})
        owed = [Entry(f"e-{number}", FEED, now, detail) for number in range(entries)]
        await ledger.record(FEED, owed, now=now)


def _sent_again(file: Path, bus: Sink, entries: int) -> Callable[[], float]:
    """All of them are owed again: the rate at which they go, from the first tenth to the last."""

    async def owe() -> None:
        now = SystemClock().now()
        async with SqliteLedger(file) as ledger:
            owed = await ledger.replay(Window(now - timedelta(days=1), now + timedelta(days=1)), now=now)
        assert owed == entries, owed

    def sent_again() -> float:
        before = bus.taken()
        asyncio.run(owe())
        assert eventually(lambda: bus.taken() >= before + entries // 10)
        began, first = time.perf_counter(), bus.taken()
        while (taken := bus.taken()) < before + entries:
            time.sleep(0.001)
        rate = (taken - first) / (time.perf_counter() - began)
        assert eventually(lambda: asyncio.run(_owed(file)) == 0)
        return rate

    return sent_again


async def _owed(file: Path) -> int:
    async with SqliteLedger(file) as ledger:
        return (await ledger.books()).owed


@contextmanager
def a_home(alloy: str, bus: str) -> Iterator[Home]:
    """With keys of its own, and a page on any free port."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder), alloy=alloy, bus=bus)
        home.file.unlink()
        home("init")
        home.change("web", listen="127.0.0.1:0")
        for name, secret in (
            ("alloy-api-key", API_KEY),
            ("aws-access-key-id", KEY.id),
            ("aws-secret-access-key", KEY.secret),
        ):
            done = home("keys", "set", name, stdin=secret)
            assert done.code == 0, done.said
        yield home
