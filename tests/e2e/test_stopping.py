"""Exits: signals, kills, and two processes on one ledger."""

from __future__ import annotations

import signal
import time

import pytest

from tests.e2e.harness import fail, numbered, publishing, sent
from tests.fakes.actions import Hang
from tests.fakes.alloy import FakeAlloy, delayed
from tests.fakes.bus_faults import hang, slow, throttled
from tests.fakes.eventbridge import BUS, StrictEventBridge
from tests.harness.installation import Installation
from tests.harness.process import eventually


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_daemon_with_exit_0(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, number: signal.Signals
) -> None:
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["a"])
        assert daemon.stop(number) == 0
        assert "Traceback" not in daemon.log


def test_signal_waits_for_the_request_in_flight(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    bus.next(slow(500))
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_until(lambda: bus.delivered)
        assert daemon.stop() == 0
    assert installation.counters()["sent"] == 1
    assert sent(bus) == ["a"]


def test_signal_during_a_poll_loses_nothing(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, *numbered(90))
    alloy.always(lambda request: delayed(0.5) if request.query.get("page") == "1" else None)
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus))
        assert daemon.stop() == 0
    alloy.clear()
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(90)


def test_hanging_source_does_not_delay_the_exit(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", timeout="60s")
    alloy.always(lambda _: Hang(60))
    with installation.start() as daemon:
        daemon.wait_until(lambda: alloy.requests)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 5


def test_hanging_bus_delays_the_exit_by_the_grace_period(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """Its entries stay pending."""
    installation.change("destination", timeout="60s")
    installation.change("run", shutdown_grace="500ms")
    bus.always(publishing(hang(60, delivered=False)))
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_until(lambda: any(served.operation == "PutEvents" for served in bus.served))
        began = time.monotonic()
        assert daemon.stop() == 0
        assert 0.4 < time.monotonic() - began < 5
    assert installation.counters()["pending"] == 1


def test_signal_during_throttling_exits_at_once(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """The rest stays pending."""
    bus.always(publishing(throttled()))
    fail(alloy, *numbered(20))
    with installation.start() as daemon:
        daemon.wait_until(lambda: len(bus.served) > 3)
        assert daemon.stop() == 0
    bus.clear()
    installation.run_command("once")
    assert sent(bus) == numbered(20)


def test_signal_before_the_daemon_is_ready_ends_it(installation: Installation) -> None:
    with installation.start() as daemon:
        assert eventually(lambda: list(installation.directory.glob("forwarder.db*")))
        assert daemon.stop() == 0


def test_second_daemon_exits_75_and_names_the_first(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["a"])
        done = installation.run_command("run")
        assert done.code == 75
        assert str(daemon.pid) in done.err


def test_once_beside_a_daemon_exits_75(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["a"])
        done = installation.run_command("once")
        assert (done.code, str(daemon.pid) in done.err) == (75, True)


def test_lock_of_a_killed_daemon_is_released(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["a"])
        daemon.kill()
    assert installation.run_command("once").code == 0


def test_kill_during_a_poll_loses_nothing_after_a_restart(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    bus.buses.discard(BUS)
    fail(alloy, *numbered(90))
    alloy.always(lambda request: Hang(30) if request.query.get("page") == "2" else None)
    with installation.start() as daemon:
        daemon.wait_until(lambda: any(request.query.get("page") == "2" for request in alloy.requests))
        daemon.kill()
    alloy.clear()
    bus.buses.add(BUS)
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(90)


@pytest.mark.parametrize("after", [1, 40])
def test_kill_during_delivery_loses_nothing_and_repeats_little(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, after: int
) -> None:
    installation.change("destination", concurrency=2)
    fail(alloy, *numbered(60))
    bus.always(publishing(slow(3000)))
    with installation.start() as daemon:
        daemon.wait_until(lambda: len(bus.delivered) >= after)
        daemon.kill()
    bus.clear()
    done = installation.run_command("once", "--json")
    assert (done.code, done.json()["counters"]["recorded"], done.json()["counters"]["sent"]) == (0, 60, 60)
    assert set(sent(bus)) == set(numbered(60))
    assert len(sent(bus)) <= 60 + 2 * 10, "at most the entries of the requests in flight are sent twice"


def test_repeated_kills_do_not_prevent_delivery(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, *numbered(60))
    alloy.always(lambda _: delayed(0.05))
    bus.always(publishing(slow(5000)))
    for _ in range(3):
        before = len(bus.served)
        with installation.start() as daemon:
            daemon.wait_until(lambda seen=before: len(bus.served) > seen + 1 or len(set(sent(bus))) == 60)  # type: ignore[misc]
            daemon.kill()
    alloy.clear()
    bus.clear()
    assert installation.run_command("once").code == 0
    assert set(sent(bus)) == set(numbered(60))
