"""The loops of the daemon in virtual time, each in a scenario with long waits or failures."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from pydantic import SecretStr

from forwarder.alloy import http_client
from forwarder.alloy.client import LogsClient
from forwarder.alloy.responses import ApiResponse
from forwarder.aws.eventbridge import Bus, Event, PublishResult
from forwarder.delivery.dispatcher import Dispatcher
from forwarder.delivery.settlement import SettlementWriter
from forwarder.errors import BusMissing, LedgerUnavailable
from forwarder.health import Health
from forwarder.intake.poller import Poller
from forwarder.ledger import ONE_PROCESS, Fleet, FleetMember, Ledger, Settlement
from forwarder.maintenance import Maintenance
from forwarder.metrics import Metrics
from forwarder.model import Accepted, Checkpoint, ClaimedEntry, Outcome, Unknown
from forwarder.settings.watch import FileWatch
from tests.factories import FEED, entry, some_settings
from tests.loop_stubs import Steps, Stub, StubConnections, VirtualClock
from tests.virtual_clock import NOON

Loop = Callable[[], Awaitable[None]]

BUS, OTHER_BUS = "eu-central-1/own", "eu-central-1/other"
ENTRIES = 25

MAX_WORK_SECONDS = 15.0
"""Far shorter than in the daemon, so that every unannounced wait is longer."""


@dataclass(frozen=True)
class Scenario:
    """A loop to run, and the time after which it is in the state that the scenario is about."""

    loop: str
    hours: float
    open: Callable[[Steps, Path], AbstractAsyncContextManager[Loop]]


@asynccontextmanager
async def _intake(
    steps: Steps, response: ApiResponse | None, fleet: Fleet = ONE_PROCESS, **source: Any
) -> AsyncIterator[Loop]:
    settings = some_settings(
        source={"workflows": [f"w-{n}" for n in range(6)], "discover": True, "concurrency": 2, **source}
    )
    ledger = Stub(
        steps,
        {
            "feeds": list,
            "discovered_at": lambda *_: None,
            "add_feeds": lambda *_, **__: None,
            "save_watched": lambda *_: None,
            "checkpoint": lambda _: Checkpoint(floor=NOON - timedelta(days=1)),
            "known_ids": lambda _: set[str](),
            "record": lambda _, entries, **__: len(entries),
        },
    )
    clock = VirtualClock(steps)
    connections = type("Connections", (StubConnections,), {"steps": steps, "response": response})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_client, "Connections", connections)
        async with LogsClient(settings.source, SecretStr("key"), clock) as client:
            health = Health(clock.now)
            poller = Poller(client, cast("Ledger", ledger), settings, clock, health, Metrics(), lambda: None)
            poller.assign(fleet)
            yield poller.run


def quiet_source(steps: Steps, _: Path) -> AbstractAsyncContextManager[Loop]:
    return _intake(steps, None, max_interval="1h", discover_interval="3h", requests_per_second=1)


def shared_source(steps: Steps, _: Path) -> AbstractAsyncContextManager[Loop]:
    fleet = Fleet((FleetMember("a", "host"),), "a")
    return _intake(steps, None, fleet, max_interval="1h", discover_interval="3h", requests_per_second=1)


def limited_source(steps: Steps, _: Path) -> AbstractAsyncContextManager[Loop]:
    return _intake(steps, ApiResponse(429, httpx.Headers({"retry-after": "3600"}), b""))


def _publish_accepted(events: list[Event], **_: object) -> PublishResult:
    return PublishResult([Accepted("id") for _ in events])


def _publish_unknown(events: list[Event], **_: object) -> PublishResult:
    outcomes: list[Outcome] = [Unknown("no response") for _ in events]
    return PublishResult(outcomes)


def _disk_full(*_: object, **__: object) -> int:
    raise LedgerUnavailable("the disk is full")


class _PublishUntilMissing:
    """One request is accepted. The next ones find that the bus is missing."""

    def __init__(self) -> None:
        self._requests = 0

    def __call__(self, events: list[Event], **_: object) -> PublishResult:
        self._requests += 1
        if self._requests > 1:
            raise BusMissing("the bus is missing", code="missing")
        return _publish_accepted(events)


class _DescribeInTurns:
    """Every second request finds that the bus is missing."""

    def __init__(self) -> None:
        self._requests = 0

    def __call__(self, name: str) -> None:
        self._requests += name == BUS
        if name == BUS and self._requests % 2 == 0:
            raise BusMissing("the bus is missing", code="missing")


@asynccontextmanager
async def _delivery(
    steps: Steps,
    *,
    publish: Callable[..., PublishResult] = _publish_accepted,
    settles_none: bool = False,
    **ledger: Callable[..., object],
) -> AsyncIterator[Loop]:
    pending = [ClaimedEntry(n, entry(f"e-{n}", feed=FEED)) for n in range(ENTRIES)]

    def claim(limit: int, **_: object) -> list[ClaimedEntry]:
        claimed = pending[:limit]
        del pending[:limit]
        return claimed

    def release(tokens: Iterable[Any]) -> None:
        pending.extend(ClaimedEntry(n, entry(f"e-{n}", feed=FEED)) for n in tokens)

    def settle(settlements: Sequence[Settlement], **_: object) -> int:
        if settles_none:
            release(settlement.token for settlement in settlements)
        return 1

    results: dict[str, Callable[..., object]] = {
        "claim": claim,
        "next_due": lambda: NOON + timedelta(days=2),
        "settle": settle,
        "save_bus_verified": lambda *_: None,
        "unverified_buses": lambda: [BUS, OTHER_BUS],
        "last_settlement_seq": lambda: 0,
        "requeue": lambda *_, **__: 0,
    }
    clock = VirtualClock(steps)
    health = Health(clock.now)
    attributes = {"release": release, "owns": lambda _: True, "inherited_unverified": 0}
    store = cast("Ledger", Stub(steps, results | ledger, **attributes))
    bus = cast(
        "Bus",
        Stub(steps, {"describe": _DescribeInTurns(), "publish": publish}, name=BUS),
    )
    writer = SettlementWriter(store, clock, health)
    yield Dispatcher(bus, store, writer, some_settings(), clock, health, Metrics()).run


def idle_bus(steps: Steps, _: Path) -> AbstractAsyncContextManager[Loop]:
    return _delivery(steps)


def unresponsive_bus(steps: Steps, _: Path) -> AbstractAsyncContextManager[Loop]:
    return _delivery(steps, publish=_publish_unknown, settles_none=True)


def full_disk(steps: Steps, _: Path) -> AbstractAsyncContextManager[Loop]:
    return _delivery(steps, settle=_disk_full, save_bus_verified=_disk_full)


def missing_bus_and_full_disk(steps: Steps, _: Path) -> AbstractAsyncContextManager[Loop]:
    return _delivery(steps, publish=_PublishUntilMissing(), settle=_disk_full)


@asynccontextmanager
async def idle_maintenance(steps: Steps, _: Path) -> AsyncIterator[Loop]:
    settings, clock = some_settings(), VirtualClock(steps)
    names = ("save_daemon_status", "saved_switch", "apply_retention")
    ledger = cast("Ledger", Stub(steps, dict.fromkeys(names, lambda *_, **__: None)))
    yield Maintenance(ledger, lambda: settings, dict, clock, Health(clock.now), Metrics()).run


@asynccontextmanager
async def unchanged_settings(steps: Steps, folder: Path) -> AsyncIterator[Loop]:
    file, clock = folder / "forwarder.toml", VirtualClock(steps)
    watch = FileWatch([file])
    file.touch()

    async def watch_file() -> None:
        while True:
            await watch.changed(clock)

    yield watch_file


SCENARIOS = {
    each.open.__name__: each
    for each in (
        Scenario("source", 7, quiet_source),
        Scenario("source", 7, shared_source),
        Scenario("source", 12, limited_source),
        Scenario("bus", 6, idle_bus),
        Scenario("bus", 6, unresponsive_bus),
        Scenario("bus", 6, full_disk),
        Scenario("bus", 6, missing_bus_and_full_disk),
        Scenario("maintenance", 2, idle_maintenance),
        Scenario("settings", 2, unchanged_settings),
    )
}
