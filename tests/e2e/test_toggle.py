"""Forwarding is enabled and disabled while the daemon runs and across a restart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e.harness import fail, numbered, polls, publishing, sent
from tests.fakes.alloy import FakeAlloy, delayed
from tests.fakes.bus_faults import slow, throttled
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation
from tests.harness.process import ForwarderProcess, eventually, never


@pytest.fixture
def daemon(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> Iterator[ForwarderProcess]:
    """Yield a daemon that has sent one event."""
    fail(alloy, "first")
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["first"])
        yield daemon


def disable(installation: Installation, daemon: ForwarderProcess) -> None:
    installation.change(enabled=False)
    daemon.wait_for_log("forwarding disabled")


def enable(installation: Installation, daemon: ForwarderProcess) -> None:
    installation.change(enabled=True)
    daemon.wait_for_log("forwarding enabled")


def test_disabling_takes_effect_within_a_second(installation: Installation, daemon: ForwarderProcess) -> None:
    """One of three times suffices: a busy machine may stop the daemon for longer."""
    durations: list[float] = []
    for number in range(1, 4):
        installation.change(enabled=False)
        began = time.monotonic()
        daemon.wait_until(partial(has_logged_times, daemon, "forwarding disabled", number))
        durations.append(time.monotonic() - began)
        if durations[-1] < 1.2:
            return
        installation.change(enabled=True)
        daemon.wait_until(partial(has_logged_times, daemon, "forwarding enabled", number))
    pytest.fail(f"disabling takes effect after {durations} s")


def has_logged_times(daemon: ForwarderProcess, event: str, times: int) -> bool:
    return daemon.log.count(event) == times


def test_disabled_daemon_polls_and_publishes_nothing(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    def published() -> int:
        """Count the PutEvents requests. A disabled daemon still checks the bus of the events sent before."""
        return [each.operation for each in list(bus.served)].count("PutEvents")

    disable(installation, daemon)
    polls_before, before = polls(alloy), published()
    fail(alloy, "meanwhile")
    assert never(lambda: polls(alloy) > polls_before or published() > before, within=1)
    assert daemon.is_running


def test_commands_disable_and_enable_a_running_daemon(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.run_command("disable")
    daemon.wait_for_log("forwarding disabled")
    fail(alloy, "meanwhile")
    installation.run_command("enable")
    daemon.wait_until(lambda: sent(bus) == ["first", "meanwhile"])


def test_enabling_sends_what_failed_meanwhile(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    disable(installation, daemon)
    fail(alloy, *numbered(40), ago=30)
    enable(installation, daemon)
    daemon.wait_until(lambda: sent(bus) == ["first", *numbered(40)])


def test_enabling_with_skip_omits_what_failed_meanwhile(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change(on_enable="skip")
    disable(installation, daemon)
    fail(alloy, "meanwhile", ago=5)
    enable(installation, daemon)
    polls_before = polls(alloy)
    daemon.wait_until(lambda: polls(alloy) > polls_before + 4)
    fail(alloy, "after", ago=-2)
    daemon.wait_until(lambda: "after" in sent(bus))
    assert sent(bus) == ["after", "first"]


def test_enabling_with_skip_sends_pending_entries(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change(on_enable="skip")
    bus.always(publishing(throttled()))
    fail(alloy, "pending")
    daemon.wait_until(lambda: installation.counters()["pending"] == 1)
    disable(installation, daemon)
    bus.clear()
    enable(installation, daemon)
    daemon.wait_until(lambda: sent(bus) == ["first", "pending"])


def test_disabled_daemon_publishes_no_pending_entry(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    bus.always(publishing(throttled()))
    fail(alloy, *numbered(20))
    daemon.wait_until(lambda: installation.counters()["pending"] == 20)
    disable(installation, daemon)
    bus.clear()
    assert never(lambda: len(bus.delivered) > 1, within=1.5)
    assert installation.counters()["pending"] == 20


def test_disabling_settles_requests_in_flight(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    bus.next(slow(500))
    fail(alloy, "in-flight")
    daemon.wait_until(lambda: len(bus.delivered) == 2)
    disable(installation, daemon)
    daemon.wait_until(lambda: installation.counters()["sent"] == 2)
    assert sent(bus) == ["first", "in-flight"]


@pytest.mark.parametrize(("on_enable", "expected"), [("catch_up", ["first", "x"]), ("skip", ["first"])])
def test_toggle_across_a_restart_has_the_same_effect(
    installation: Installation,
    daemon: ForwarderProcess,
    alloy: FakeAlloy,
    bus: StrictEventBridge,
    on_enable: str,
    expected: list[str],
) -> None:
    installation.change(on_enable=on_enable)
    disable(installation, daemon)
    assert daemon.stop() == 0
    fail(alloy, "x", ago=5)
    installation.change(enabled=True)
    with installation.start() as second:
        polls_before = polls(alloy)
        second.wait_until(lambda: polls(alloy) > polls_before + 6)
        second.wait_until(lambda: sent(bus) == expected)
        assert second.stop() == 0
    assert sent(bus) == expected


def test_daemon_that_starts_disabled_waits(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change(enabled=False)
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_until(lambda: installation.run_command("status", "--json").json()["running"])
        assert (polls(alloy), bus.served) == (0, [])
        installation.change(enabled=True)
        daemon.wait_until(lambda: sent(bus) == ["a"])


def test_quick_toggles_lose_and_repeat_nothing(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    for round_ in range(8):
        fail(alloy, f"x{round_}")
        installation.change(enabled=round_ % 2 == 1)
        eventually(lambda: False, within=0.3)  # the daemon notices some of the changes only
    daemon.wait_until(lambda: sent(bus) == ["first", *(f"x{round_}" for round_ in range(8))])


def test_disabling_during_a_poll_loses_nothing(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """Recorded executions are kept, and the rest is read after enabling."""
    alloy.always(lambda request: delayed(0.3) if "page=0" not in request.target else None)
    fail(alloy, *numbered(90))
    daemon.wait_until(lambda: len(sent(bus)) > 1)
    disable(installation, daemon)
    enable(installation, daemon)
    alloy.clear()
    daemon.wait_until(lambda: sent(bus) == ["first", *numbered(90)])


def test_disabled_daemon_is_in_status_and_exits_0(installation: Installation, daemon: ForwarderProcess) -> None:
    disable(installation, daemon)
    assert installation.run_command("status", "--json").json()["enabled"] is False
    assert daemon.stop() == 0
