"""A new ledger instead of one that was moved away: the upgrade from 0.1, as CHANGELOG.md describes it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from forwarder.demo.sample_data import execution
from forwarder.time_format import rfc3339
from tests.e2e.harness import fail, numbered, polls, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

pytestmark = pytest.mark.long

LEDGER_FILES = ("", "-wal", "-shm", ".lock")


def move_ledger_away(installation: Installation) -> None:
    for ending in LEDGER_FILES:
        file = installation.directory / f"forwarder.db{ending}"
        if file.exists():
            file.rename(installation.directory / f"old.db{ending}")


def test_start_from_now_skips_earlier_failures_without_repeats(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "sent", ago=60)
    fail(alloy, "at-work", outcome="running", ago=60)
    assert installation.run_command("once").code == 0
    move_ledger_away(installation)
    fail(alloy, "meanwhile", ago=30, stopped=alloy.api.now() - timedelta(seconds=1))
    installation.change("source", start_from="now")
    with installation.start() as daemon:
        daemon.wait_until(lambda: polls(alloy) > 4)
        fail(alloy, "later", ago=-1)
        alloy.api.update("at-work", status="failed", stoppedAt=rfc3339(alloy.api.now() + timedelta(seconds=1)))
        daemon.wait_until(lambda: {"later", "at-work"} <= set(sent(bus)))
    assert sent(bus) == ["at-work", "later", "sent"]


def test_start_from_a_time_repeats_what_stopped_since(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "before", ago=120)
    fail(alloy, "since", ago=30)
    assert installation.run_command("once").code == 0
    move_ledger_away(installation)
    fail(alloy, "meanwhile", ago=10)
    installation.change("source", start_from=rfc3339(alloy.api.now() - timedelta(seconds=60)))
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["before", "meanwhile", "since", "since"]


@pytest.mark.parametrize(("max_lateness", "found"), [("24h", []), ("7d", ["long-run"])])
def test_long_run_within_max_lateness_is_followed(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, max_lateness: str, found: list[str]
) -> None:
    """The new ledger does not know which executions were open. The first scan searches for them below its floor."""
    fail(alloy, "long-run", outcome="running", ago=200_000)
    fail(alloy, *numbered(30, "old"), ago=150_000)
    fail(alloy, *numbered(30, "new"), ago=60)
    installation.change("source", start_from="now", max_lateness=max_lateness)
    assert installation.run_command("once").code == 0
    alloy.api.update("long-run", status="failed", stoppedAt=rfc3339(alloy.api.now() + timedelta(seconds=1)))
    assert installation.run_command("once").code == 0
    assert sent(bus) == found


def test_discovered_workflow_starts_one_interval_earlier(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", workflows=[], discover=True, discover_interval="10m", start_from="now")
    for id_, seconds in (("earlier", 900), ("within", 300)):
        started = alloy.api.now() - timedelta(seconds=seconds)
        alloy.api.add("v", execution("failed-status", id=id_, started=started), user_id="u1")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["within"]


def test_ledger_without_its_lock_file_stops_the_start(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    assert installation.run_command("once").code == 0
    (installation.directory / "forwarder.db").rename(installation.directory / "old.db")
    done = installation.run_command("once")
    assert done.code == 1
    assert "forwarder.db.lock" in done.err


def test_execution_without_a_readable_time_is_sent_again(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "with-time", ago=60)
    fail(alloy, "without-time", ago=60)
    alloy.api.update("without-time", startedAt="?", stoppedAt="?")
    assert installation.run_command("once").code == 0
    move_ledger_away(installation)
    installation.change("source", start_from="now")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["with-time", "without-time", "without-time"]
