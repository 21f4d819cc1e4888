"""The environment of a fleet under test: dynalite, the two fakes, and one proxy for each process."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

from forwarder.demo.sample_data import execution
from forwarder.ledger.dynamodb import DynamoLedger
from forwarder.ledger.dynamodb.executions import Retention
from forwarder.ledger.dynamodb.schema import LEDGER, MEMBERS, table_definition
from forwarder.ledger.dynamodb.table import Table
from forwarder.settings.validators.ledger_url import TableLocation
from tests.fakes.actions import Hang
from tests.fakes.alloy import FakeAlloy
from tests.fakes.bus_faults import Fault, reset_after
from tests.fakes.eventbridge import StrictEventBridge, operation_of
from tests.fakes.wire import Request
from tests.faults.fleet_delays import DelayMeter
from tests.faults.fleet_plan import generator
from tests.faults.fleet_process import FleetProcess, create_installation
from tests.faults.fleet_record import Record
from tests.harness.dynalite import Dynalite, new_table_name, table_client
from tests.harness.dynamodb_faults import LOSE_REPLY, LOSE_REQUEST, PARTIAL, THROTTLED, seeded
from tests.harness.dynamodb_proxy import DynamoProxy
from tests.harness.installation import Installation

REGION: Final = "eu-west-1"

TABLE_FAULTS: Final = ((0.01, THROTTLED), (0.01, LOSE_REPLY), (0.005, LOSE_REQUEST), (0.05, PARTIAL))
"""The faults of the table at any time, with their probabilities."""

LOST_REPLIES: Final = 0.01
"""The share of the bus's replies that are lost."""

FIRST_LOST_REPLY: Final = 3
"""The request whose reply is lost in any case, so that a short run has one."""

LATE_REPLIES: Final = 0.3
"""The share of the bus's replies that are late, so that requests are in flight when a process is killed or paused."""

LATE_REPLY: Final = Fault("slow reply", delivered=True, spoil=lambda answer: Hang(0.5, then=answer))

MAX_POLLS_PER_SECOND: Final = 40
"""The empty polls of the whole fleet, so that the fakes use little of the processor."""

T = TypeVar("T")


def disturb_replies(bus: StrictEventBridge, draw: Random) -> None:
    """Lose some replies of the bus, and send others late. Their events are delivered at once."""
    requests = itertools.count(1)

    def rule(request: Request) -> Fault | None:
        if operation_of(request) != "PutEvents":
            return None
        drawn = draw.random()
        if next(requests) == FIRST_LOST_REPLY or drawn < LOST_REPLIES:
            return reset_after(delivered=True)
        return LATE_REPLY if drawn < LOST_REPLIES + LATE_REPLIES else None

    bus.always(rule)


class LoopThread:
    """An event loop in a thread of its own, in which the proxies run."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies")
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start work that runs until `stop`."""
        asyncio.run_coroutine_threadsafe(work, self._loop)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.1))
        self._loop.close()


@dataclass
class FleetEnvironment:
    """The fakes, the table and the processes. `ledger` and `table` are readers that no fault hits.

    `failed` has the ids of all failures, and `spares` are places whose processes join later.
    """

    alloy: FakeAlloy
    bus: StrictEventBridge
    thread: LoopThread
    ledger: DynamoLedger
    table: Table
    processes: list[FleetProcess]
    spares: list[FleetProcess]
    workflows: Sequence[str]
    failed: set[str] = field(default_factory=set)

    def fail(self, draw: Random) -> None:
        """List one more failure of some workflow."""
        execution_id = f"x{len(self.failed):06}"
        record = execution("failed-status", id=execution_id, started=self.alloy.api.now())
        self.failed.add(execution_id)
        self.alloy.api.add(draw.choice(self.workflows), record)

    def read(self, work: Callable[[DynamoLedger], Coroutine[Any, Any, T]]) -> T:
        """Return the result of work on the ledger."""
        return self.thread.call(work(self.ledger))

    def scan(self, start: str) -> dict[str, dict[str, Any]]:
        """Return the items of the table whose partition begins with a text, by `PARTITION/SORT KEY`."""

        async def scan() -> dict[str, dict[str, Any]]:
            return {f"{key.p}/{key.s}": item async for key, item in self.table.scan() if key.p.startswith(start)}

        return self.thread.call(scan())

    def member_items(self) -> dict[str, dict[str, Any]]:
        """Return the items of all members, by their ids."""

        async def query() -> dict[str, dict[str, Any]]:
            return {item["s"]: item async for item in self.table.query(MEMBERS) if item["s"] != LEDGER.s}

        return self.thread.call(query())


def source_of(number: int) -> str:
    return f"fleet.process-{number}"


def max_interval_ms(workflows: int) -> int:
    return max(1000, workflows * 1000 // MAX_POLLS_PER_SECOND)


@contextmanager
def start_environment(
    directory: Path, seed: int, *, workflows: int, processes: int, spares: int
) -> Iterator[FleetEnvironment]:
    """Start everything except the forwarders."""
    names = [f"w-{number}" for number in range(workflows)]
    dynalite, thread = Dynalite(), LoopThread()
    location = TableLocation(new_table_name(), REGION, dynalite.endpoint_url)
    places: list[FleetProcess] = []
    table = Table(location, lambda: table_client(location.endpoint_url))
    ledger = thread.call(_open_ledger(location))
    try:
        with FakeAlloy() as alloy, StrictEventBridge() as bus:
            disturb_replies(bus, generator(seed, "replies of the bus"))
            for name in names:
                alloy.api.add_workflow(name)
            for number in range(processes + spares):
                proxy = thread.call(DynamoProxy(dynalite.port).__aenter__())
                installation = create_installation(
                    directory / f"process-{number}",
                    alloy=alloy.url,
                    bus=bus.url,
                    source=source_of(number),
                    table_url=f"dynamodb://{location.table}?region={REGION}&endpoint_url={proxy.endpoint_url}",
                    workflows=names,
                    max_interval=f"{max_interval_ms(workflows)}ms",
                )
                places.append(_create_place(number, installation, proxy, seed, thread))
                places[-1].record.joins_later = number >= processes
            first, later = places[:processes], places[processes:]
            yield FleetEnvironment(alloy, bus, thread, ledger, table, first, later, names)
    finally:
        for place in places:
            place.close()
            thread.call(place.proxy.__aexit__(None, None, None))
        thread.call(table.close())
        thread.call(ledger.__aexit__(None, None, None))
        thread.stop()
        dynalite.stop()


def _create_place(
    number: int, installation: Installation, proxy: DynamoProxy, seed: int, thread: LoopThread
) -> FleetProcess:
    """Return a place whose delays are measured from now on."""
    name, plan = f"process-{number}", seeded(seed * 1000 + number, TABLE_FAULTS)
    place = FleetProcess(name, source_of(number), installation, proxy, Record(name), plan)
    meter = DelayMeter(place.pid)
    place.record.delayed = meter.between
    thread.start(meter.run())
    return place


async def _open_ledger(location: TableLocation) -> DynamoLedger:
    """Create the table, and open the ledger as a reader."""
    async with table_client(location.endpoint_url) as client:
        await client.create_table(**table_definition(location.table))
    return await DynamoLedger(
        location,
        lambda: table_client(location.endpoint_url),
        Retention(timedelta(days=90), timedelta(days=1)),
        host="test",
    ).__aenter__()
