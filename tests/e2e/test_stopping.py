"""Signals, kills, and two processes on one ledger."""

from __future__ import annotations

import signal
import time

import pytest

from tests.e2e.harness import Home, eventually, fail, numbered, publishing, sent
from tests.fakes.actions import Hang
from tests.fakes.alloy import FakeAlloy, delayed
from tests.fakes.bus_faults import hang, slow, throttled
from tests.fakes.eventbridge import BUS, StrictEventBridge


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_0(
    home: Home, alloy: FakeAlloy, bus: StrictEventBridge, number: signal.Signals
) -> None:
    fail(alloy, "a")
    with home.daemon() as daemon:
        daemon.until(lambda: sent(bus) == ["a"])
        assert daemon.stop(number) == 0
        assert "Traceback" not in daemon.log


def test_a_signal_waits_for_the_request_in_flight_and_settles_it(
    home: Home, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    bus.next(slow(500))
    fail(alloy, "a")
    with home.daemon() as daemon:
        daemon.until(lambda: bus.delivered)
        assert daemon.stop() == 0
    assert home.counters()["sent"] == 1
    assert sent(bus) == ["a"]


def test_a_signal_in_the_middle_of_a_reading_loses_nothing(
    home: Home, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, *numbered(90))
    alloy.always(lambda request: delayed(0.5) if request.query.get("page") == "1" else None)
    with home.daemon() as daemon:
        daemon.until(lambda: sent(bus))
        assert daemon.stop() == 0
    alloy.clear()
    assert home("once").code == 0
    assert sent(bus) == numbered(90)


def test_a_source_that_hangs_does_not_hold_up_the_exit(home: Home, alloy: FakeAlloy) -> None:
    home.change("source", timeout="60s")
    alloy.always(lambda _: Hang(60))
    with home.daemon() as daemon:
        daemon.until(lambda: alloy.requests)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 5


def test_a_bus_that_hangs_is_left_after_the_grace_and_its_entries_stay_owed(
    home: Home, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    home.change("destination", timeout="60s")
    home.change("run", shutdown_grace="500ms")
    bus.always(publishing(hang(60, delivered=False)))
    fail(alloy, "a")
    with home.daemon() as daemon:
        daemon.until(lambda: any(served.operation == "PutEvents" for served in bus.served))
        began = time.monotonic()
        assert daemon.stop() == 0
        assert 0.4 < time.monotonic() - began < 5
    assert home.counters()["pending"] == 1


def test_a_signal_while_the_bus_throttles_exits_at_once_with_the_rest_owed(
    home: Home, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    bus.always(publishing(throttled()))
    fail(alloy, *numbered(20))
    with home.daemon() as daemon:
        daemon.until(lambda: len(bus.served) > 3)
        assert daemon.stop() == 0
    bus.clear()
    home("once")
    assert sent(bus) == numbered(20)


def test_a_signal_before_it_is_ready_ends_it_all_the_same(home: Home) -> None:
    with home.daemon() as daemon:
        assert eventually(lambda: list(home.place.glob("forwarder.db*")))
        assert daemon.stop() == 0


def test_a_second_daemon_exits_75_and_names_the_first(home: Home, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, "a")
    with home.daemon() as daemon:
        daemon.until(lambda: sent(bus) == ["a"])
        done = home("run")
        assert done.code == 75
        assert str(daemon.pid) in done.err


def test_a_once_beside_the_daemon_exits_75(home: Home, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, "a")
    with home.daemon() as daemon:
        daemon.until(lambda: sent(bus) == ["a"])
        done = home("once")
        assert (done.code, str(daemon.pid) in done.err) == (75, True)


def test_the_lock_of_a_killed_daemon_holds_nobody_up(home: Home, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, "a")
    with home.daemon() as daemon:
        daemon.until(lambda: sent(bus) == ["a"])
        daemon.kill()
    assert home("once").code == 0


def test_killed_while_it_reads_the_next_start_reads_the_rest(
    home: Home, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    bus.buses.discard(BUS)
    fail(alloy, *numbered(90))
    alloy.always(lambda request: Hang(30) if request.query.get("page") == "2" else None)
    with home.daemon() as daemon:
        daemon.until(lambda: any(request.query.get("page") == "2" for request in alloy.requests))
        daemon.kill()
    alloy.clear()
    bus.buses.add(BUS)
    assert home("once").code == 0
    assert sent(bus) == numbered(90)


@pytest.mark.parametrize("after", [1, 40])
def test_killed_while_it_publishes_nothing_is_lost_and_little_is_doubled(
    home: Home, alloy: FakeAlloy, bus: StrictEventBridge, after: int
) -> None:
    home.change("destination", concurrency=2)
    fail(alloy, *numbered(60))
    bus.always(publishing(slow(3000)))
    with home.daemon() as daemon:
        daemon.until(lambda: len(bus.delivered) >= after)
        daemon.kill()
    bus.clear()
    done = home("once", "--json")
    assert (done.code, done.json()["counters"]["recorded"], done.json()["counters"]["sent"]) == (0, 60, 60)
    assert set(sent(bus)) == set(numbered(60))
    assert len(sent(bus)) <= 60 + 2 * 10, "at most the entries of the requests in flight are sent twice"


def test_killed_again_and_again_it_still_gets_there(home: Home, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, *numbered(60))
    alloy.always(lambda _: delayed(0.05))
    bus.always(publishing(slow(5000)))
    for _ in range(3):
        before = len(bus.served)
        with home.daemon() as daemon:
            daemon.until(lambda seen=before: len(bus.served) > seen + 1 or len(set(sent(bus))) == 60)  # type: ignore[misc]
            daemon.kill()
    alloy.clear()
    bus.clear()
    assert home("once").code == 0
    assert set(sent(bus)) == set(numbered(60))
