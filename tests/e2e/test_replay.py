"""`replay`: stored events are sent again with a mark."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from forwarder.event.idempotency import idempotency_key
from tests.e2e.harness import fail, publishing, sent
from tests.fakes import bus_faults
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import PROGRAM, Installation
from tests.harness.process import ForwarderProcess, eventually

pytestmark = pytest.mark.usefixtures("five_sent_events")


@pytest.fixture
def daemon(installation: Installation) -> Iterator[ForwarderProcess]:
    with installation.start() as daemon:
        daemon.wait_for_log("started")
        yield daemon
        assert daemon.stop() == 0


def ago(**since: float) -> str:
    return (datetime.now(UTC) - timedelta(**since)).isoformat()


def test_replay_since_a_time_sends_marked_events(installation: Installation, bus: StrictEventBridge) -> None:
    done = installation.run_command("replay", "--since", "2h", "--yes")
    assert done.code == 0, done.output
    assert "3 events" in done.out
    assert sent(bus) == ["now-1", "now-2", "of-v"]
    assert [event.detail["forwarder"]["replay"] for event in bus.delivered] == [True] * 3
    counters = installation.counters()
    assert (counters["sent"], counters["pending"], counters["recorded"]) == (5, 0, 5)
    assert "✓ counters: balanced" in installation.run_command("check").out


def test_replayed_event_differs_in_its_mark_and_key(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "fresh")
    installation.run_command("once")
    assert installation.run_command("replay", "--since", "24h", "--yes").code == 0
    first, again = [event for event in bus.delivered if event.detail["executionId"] == "fresh"]
    assert "replay" not in first.detail["forwarder"]
    marked = first.detail["forwarder"] | {"replay": True, "idempotencyKey": idempotency_key("fresh", 2)}
    assert again.detail == first.detail | {"forwarder": marked}
    assert again.entry["Time"] == first.entry["Time"]


@pytest.mark.long
def test_replay_repeated_sends_events_again(installation: Installation, bus: StrictEventBridge) -> None:
    for _ in range(2):
        assert installation.run_command("replay", "--since", "2h", "--yes").code == 0
    assert sent(bus) == sorted(["now-1", "now-2", "of-v"] * 2)


@pytest.mark.long
def test_replay_window_excludes_its_end(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, "edge", ago=7200)
    installation.run_command("once")
    (edge,) = [event.detail["stoppedAt"] for event in bus.delivered]
    assert (
        installation.run_command("replay", "--from", ago(hours=4), "--to", edge, "--dry-run", "--json").json()[
            "available"
        ]
        == 1
    )
    assert (
        installation.run_command("replay", "--from", edge, "--to", ago(hours=1), "--dry-run", "--json").json()[
            "available"
        ]
        == 1
    )
    assert installation.run_command("replay", "--from", ago(hours=4), "--to", edge, "--yes").code == 0
    assert sent(bus) == ["edge", "three-hours"]


@pytest.mark.long
def test_replay_window_without_an_end_ends_now(installation: Installation, bus: StrictEventBridge) -> None:
    assert installation.run_command("replay", "--from", ago(hours=4), "--yes").code == 0
    assert sent(bus) == ["now-1", "now-2", "of-v", "three-hours"]


@pytest.mark.long
def test_replay_of_a_workflow_sends_only_its_events(installation: Installation, bus: StrictEventBridge) -> None:
    assert installation.run_command("replay", "--since", "24h", "--workflow", "v", "--yes").code == 0
    assert sent(bus) == ["of-v"]


def test_replay_dry_run_counts_and_changes_nothing(installation: Installation, bus: StrictEventBridge) -> None:
    done = installation.run_command("replay", "--since", "24h", "--dry-run")
    assert done.code == 0
    assert "5 events" in done.out
    assert sent(bus) == []
    assert installation.counters()["pending"] == 0


@pytest.mark.long
def test_replay_excludes_pending_and_dead_entries(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "dead", ago=30)
    bus.next(bus_faults.entry_codes({0: "MalformedDetail"}))
    installation.run_command("once")
    fail(alloy, "pending", ago=20)
    bus.always(publishing(bus_faults.throttled()))
    installation.run_command("once", "--timeout", "1s")
    assert installation.run_command("replay", "--since", "2h", "--dry-run", "--json").json()["available"] == 3
    bus.clear()
    assert installation.run_command("replay", "--since", "2h", "--yes").code == 0
    marks = {event.detail["executionId"]: event.detail["forwarder"].get("replay") for event in bus.delivered}
    assert marks == {"pending": None, "now-1": True, "now-2": True, "of-v": True}
    assert [letter["execution_id"] for letter in installation.dead_letters()] == ["dead"]


def test_replay_names_expired_payloads_and_sends_the_rest(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("ledger", payload_retention="0s")
    installation.run_command("once")
    installation.change("ledger", payload_retention="24h")
    fail(alloy, "held", ago=30)
    installation.run_command("once")
    done = installation.run_command("replay", "--since", "24h", "--yes")
    assert done.code == 0
    assert "1 event can" in done.out
    named = [line for line in done.out.splitlines() if "not stored" in line]
    assert sorted(line.rpartition(": ")[2] for line in named) == ["1 of workflow v", "4 of workflow w"]
    assert sent(bus) == ["held", "held"]
    report = installation.run_command("replay", "--since", "24h", "--dry-run", "--json").json()
    assert report == {"available": 1, "expired": {"v": 1, "w": 4}, "dry_run": True}


@pytest.mark.long
def test_replay_without_stored_payloads_exits_0(installation: Installation, bus: StrictEventBridge) -> None:
    installation.change("ledger", payload_retention="0s")
    installation.run_command("once")
    done = installation.run_command("replay", "--since", "24h")
    assert done.code == 0
    assert "0 events" in done.out
    assert sent(bus) == []


def test_replay_beside_a_daemon_is_sent_by_the_daemon(
    installation: Installation, daemon: ForwarderProcess, bus: StrictEventBridge
) -> None:
    done = installation.run_command("replay", "--since", "24h", "--yes")
    assert done.code == 0, done.output
    assert len(sent(bus)) == 5, "the command waits until they are sent"
    assert all(event.detail["forwarder"]["replay"] for event in bus.delivered)
    assert daemon.is_running


def test_replay_with_refused_keys_exits_77_and_stays_pending(
    installation: Installation, bus: StrictEventBridge
) -> None:
    bus.keys.clear()
    done = installation.run_command("replay", "--since", "24h", "--yes")
    assert done.code == 77
    assert "hint:" in done.err
    assert installation.counters()["pending"] == 5


@pytest.mark.long
def test_pending_replay_is_sent_marked_by_the_next_pass(installation: Installation, bus: StrictEventBridge) -> None:
    installation.change(enabled=False)
    done = installation.run_command("replay", "--since", "24h", "--yes")
    assert done.code == 0
    assert "switched off" in done.output
    assert installation.counters()["pending"] == 5
    installation.change(enabled=True)
    installation.run_command("once")
    assert len(sent(bus)) == 5
    assert all(event.detail["forwarder"]["replay"] for event in bus.delivered)


@contextmanager
def waiting_replay(installation: Installation) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the process of a replay whose five events are pending."""
    words = [*PROGRAM, "-c", str(installation.settings_file), "replay", "--since", "24h", "--yes"]
    with subprocess.Popen(words, env=installation.environment()) as process:  # noqa: S603  # the program under test
        try:
            assert eventually(lambda: installation.counters()["pending"] == 5, within=60)
            yield process
        finally:
            process.kill()


@pytest.mark.long
def test_replay_sends_the_events_of_a_killed_daemon(installation: Installation, bus: StrictEventBridge) -> None:
    bus.always(publishing(bus_faults.throttled()))
    with installation.start() as daemon:
        daemon.wait_for_log("started")
        with waiting_replay(installation) as process:
            daemon.kill()
            bus.clear()
            assert process.wait(60) == 0
    assert len(sent(bus)) == 5


@pytest.mark.long
def test_replay_waits_for_the_restart_of_a_killed_daemon(installation: Installation, bus: StrictEventBridge) -> None:
    bus.always(publishing(bus_faults.throttled()))
    with installation.start() as daemon:
        daemon.wait_for_log("started")
        with waiting_replay(installation) as process:
            daemon.kill()
            with installation.start() as restarted:
                restarted.wait_for_log("started")
                bus.clear()
                assert process.wait(60) == 0
                assert restarted.stop() == 0
    assert len(sent(bus)) == 5
