"""`forwarder once` on a ledger in DynamoDB, beside processes that run, and after processes that were killed."""

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from forwarder.errors import LedgerUnavailable
from tests.e2e.harness import fail, polls, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.bus_faults import Fault, hold
from tests.fakes.eventbridge import StrictEventBridge, operation_of
from tests.fakes.wire import Request
from tests.harness.dynalite import new_ledger_url, table_url
from tests.harness.installation import PROGRAM, Installation
from tests.harness.process import eventually

pytestmark = pytest.mark.dynamodb

WORKFLOWS = [f"w-{number}" for number in range(12)]

HEARTBEAT_SECONDS = 0.5

SHORT_SECONDS = 10
"""A time that suffices for one event, and not for five heartbeats of a process with an interval of a minute."""

KILLED = 10
"""The killed members of a table. The feed belongs to one of them with a high probability."""


def installed(folder: Path, alloy: FakeAlloy, bus: StrictEventBridge, url: str) -> Installation:
    for workflow in WORKFLOWS:
        alloy.api.add_workflow(workflow)
    installation = Installation(
        folder,
        alloy=alloy.url,
        bus=bus.url,
        source={"workflows": WORKFLOWS},
        ledger={"url": url, "heartbeat_interval": f"{HEARTBEAT_SECONDS}s"},
    )
    installation.create_vault()
    return installation


@pytest.fixture
def installation(tmp_path: Path, alloy: FakeAlloy, bus: StrictEventBridge) -> Installation:
    return installed(tmp_path, alloy, bus, new_ledger_url())


def fail_each(alloy: FakeAlloy, suffix: str) -> list[str]:
    ids = [f"{workflow}-{suffix}" for workflow in WORKFLOWS]
    for workflow, execution_id in zip(WORKFLOWS, ids, strict=True):
        fail(alloy, execution_id, workflow=workflow)
    return ids


@contextmanager
def sending(installation: Installation, bus: StrictEventBridge, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the process of a command whose first request is at the bus, which responds after the block."""
    released, requested = threading.Event(), threading.Event()

    def hold_events(request: Request) -> Fault | None:
        if operation_of(request) != "PutEvents":
            return None
        requested.set()
        return hold(released, delivered=False)

    bus.always(hold_events)
    words = [*PROGRAM, "-c", str(installation.settings_file), *command]
    with subprocess.Popen(words, env=installation.environment()) as process:  # noqa: S603  # the program under test
        try:
            assert requested.wait(60)
            yield process
        finally:
            process.kill()
            released.set()
    bus.clear()


def test_once_delivers_what_a_killed_pass_recorded(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """It reads the feeds that belong to the killed one as well. The second pass finds nothing to wait for."""
    ids = fail_each(alloy, "a")
    with sending(installation, bus, "once") as killed:
        killed.kill()
    ids += fail_each(alloy, "b")
    before = {workflow: polls(alloy, workflow) for workflow in WORKFLOWS}
    done = installation.run_command("once", "--json")
    assert done.code == 0, done.output
    assert all(polls(alloy, workflow) > before[workflow] for workflow in WORKFLOWS)
    assert sent(bus) == sorted(ids)
    assert installation.run_command("once", "--json").json()["counters"]["pending"] == 0
    assert sent(bus) == sorted(ids)


def test_once_beside_a_daemon_polls_every_feed(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", min_interval="1h", max_interval="1h")
    with installation.start() as daemon:
        daemon.wait_until(lambda: all(polls(alloy, workflow) for workflow in WORKFLOWS))
        ids = fail_each(alloy, "a")
        done = installation.run_command("once")
        assert done.code == 0, done.output
        daemon.wait_until(lambda: sent(bus) == sorted(ids))
        assert daemon.stop() == 0


@pytest.mark.parametrize("command", [("once",), ("replay", "w-0-a", "--yes")])
def test_command_that_delivers_owns_no_feeds(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, command: tuple[str, ...]
) -> None:
    """Daemons that start meanwhile poll all of them."""
    fail(alloy, "w-0-a", workflow="w-0")
    if command != ("once",):
        assert installation.run_command("once").code == 0
    installation.change("destination", timeout="60s")
    with sending(installation, bus, *command) as delivering:
        assert eventually(lambda: installation.run_command("status", "--json").json()["members"] == [])
        assert delivering.poll() is None, "it has not ended"


async def test_once_reports_a_process_that_it_had_no_time_for(
    tmp_path: Path, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """It polls the only feed, which belongs to a killed process with long intervals."""
    from tests.ledger.fleet_table import shared_table  # noqa: PLC0415  # pytest rewrites it for tests/ledger first

    async with shared_table() as table:
        for _ in range(KILLED):
            killed = await table.member()
            await killed.kill()
        installation = installed(tmp_path, alloy, bus, table_url(table.name))
        installation.change("source", workflows=["w"])
        fail(alloy, "a")
        done = await asyncio.to_thread(installation.run_command, "once", "--timeout", f"{SHORT_SECONDS}s")
        assert done.code == LedgerUnavailable.exit_code, done.output
        assert "test/" in done.err, "the host of the killed processes"
        assert "longer --timeout" in done.err
        assert sent(bus) == ["a"]
