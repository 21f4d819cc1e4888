"""`status`: how it does, beside the daemon and without it."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from tests.e2e.harness import Home, eventually, fail, sent
from tests.fakes.alloy import FakeAlloy, unauthorized
from tests.fakes.eventbridge import BUS, StrictEventBridge

pytestmark = pytest.mark.long


def test_status_has_its_promised_keys(home: Home, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    home("once")
    report = home("status", "--json").json()
    promised = {"enabled", "running", "pid", "components", "counters", "oldest_pending_at", "last_poll_at", "feeds"}
    assert promised <= report.keys()
    assert report["counters"].keys() == {"recorded", "pending", "sent", "dead", "purged", "forgotten"}


def test_status_before_the_first_run_has_empty_books(home: Home) -> None:
    report = home("status", "--json").json()
    assert (report["running"], report["last_poll_at"], report["feeds"]) == (False, None, [])
    assert set(report["counters"].values()) == {0}
    assert not list(home.place.glob("forwarder.db*")), "looking makes no ledger"


def test_status_tells_what_runs(home: Home, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, "a")
    with home.daemon() as daemon:
        daemon.until(lambda: sent(bus) == ["a"])
        daemon.until(lambda: home("status", "--json").json()["counters"]["sent"] == 1)
        report = home("status", "--json").json()
        assert (report["enabled"], report["running"], report["pid"]) == (True, True, daemon.pid)
        assert "HEALTHY" in str(report["components"])
        assert daemon.stop() == 0
    assert home("status", "--json").json()["running"] is False


def test_status_tells_the_age_of_the_last_reading_while_it_runs(home: Home, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    with home.daemon() as daemon:
        daemon.until(lambda: home("status", "--json").json()["last_poll_at"])
        report = home("status", "--json").json()
    age = datetime.now(UTC) - datetime.fromisoformat(report["last_poll_at"])
    assert age.total_seconds() < 10


def test_status_knows_the_last_reading_of_a_once(home: Home, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    home("once")
    assert home("status", "--json").json()["last_poll_at"] is not None


def test_status_tells_what_is_owed_and_since_when(home: Home, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    bus.buses.discard(BUS)
    fail(alloy, "a", "b")
    home("once", "--timeout", "5s")
    report = home("status", "--json").json()
    age = datetime.now(UTC) - datetime.fromisoformat(report["oldest_pending_at"])
    assert report["counters"]["pending"] == 2
    assert 0 <= age.total_seconds() < 30
    assert "2 pending" in home("status").out


def test_status_has_a_line_for_each_feed(home: Home, alloy: FakeAlloy) -> None:
    home.change("source", workflows=["w", {"id": "v", "user_id": "u1"}])
    alloy.api.add_workflow("v")
    home("once")
    feeds = home("status", "--json").json()["feeds"]
    assert {(feed["workflow_id"], feed["user_id"]) for feed in feeds} == {("w", None), ("v", "u1")}


def test_status_says_what_is_wrong_with_a_part(home: Home, alloy: FakeAlloy) -> None:
    alloy.always(lambda _: unauthorized())
    with home.daemon() as daemon:
        daemon.logs("refuses the key")
        daemon.until(lambda: "FAILED" in str(home("status", "--json").json()["components"]))
        output = home("status").out
    assert "401" in output
    assert "keys set alloy-api-key" in output


def test_status_of_a_killed_daemon_says_that_nothing_runs(home: Home, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, "a")
    with home.daemon() as daemon:
        daemon.until(lambda: sent(bus) == ["a"])
        daemon.kill()
    report = home("status", "--json").json()
    assert (report["running"], report["pid"]) == (False, None)


def test_status_tells_that_it_is_switched_off(home: Home, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    home("once")
    home("disable")
    assert home("status", "--json").json()["enabled"] is False
    assert "switched off" in home("status").out


def test_status_does_not_disturb_the_daemon(home: Home, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    with home.daemon() as daemon:
        daemon.logs("started")
        for number in range(3):
            fail(alloy, f"x{number}")
            assert home("status").code == 0
        assert eventually(lambda: len(sent(bus)) == 3)
        os.kill(daemon.pid, 0)
