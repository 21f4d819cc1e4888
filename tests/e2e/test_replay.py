"""`replay`: what was sent is sent again, on purpose, and says so."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.harness import fail, publishing, sent
from tests.e2e.terminal import run_at_terminal
from tests.fakes import bus_faults
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation
from tests.harness.process import ForwarderProcess

HOUR = 3600.0


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that has sent five events of two workflows, made once: each test takes a copy."""
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        installation = Installation(tmp_path_factory.mktemp("replay"), alloy=alloy.url, bus=bus.url)
        installation.create_vault()
        list_all(alloy)
        installation.change("source", workflows=["w", "v"])
        assert installation.run_command("once").code == 0
        return installation.directory


def list_all(alloy: FakeAlloy) -> None:
    fail(alloy, "five-hours", ago=5 * HOUR)
    fail(alloy, "three-hours", ago=3 * HOUR)
    fail(alloy, "now-1", "now-2", ago=60)
    fail(alloy, "of-v", workflow="v", ago=60)


@pytest.fixture(autouse=True)
def _a_copy(installation: Installation, ledger: Path) -> None:
    for path in ledger.glob("forwarder.db*"):
        shutil.copy2(path, installation.directory)
    installation.change("source", workflows=["w", "v"])


@pytest.fixture
def daemon(installation: Installation) -> Iterator[ForwarderProcess]:
    with installation.start() as daemon:
        daemon.wait_for_log("started")
        yield daemon
        assert daemon.stop() == 0


def ago(**since: float) -> str:
    return (datetime.now(UTC) - timedelta(**since)).isoformat()


def test_what_stopped_since_then_is_sent_again_and_marked(installation: Installation, bus: StrictEventBridge) -> None:
    done = installation.run_command("replay", "--since", "2h", "--yes")
    assert done.code == 0, done.output
    assert "3 events" in done.out
    assert sent(bus) == ["now-1", "now-2", "of-v"]
    assert [event.detail["forwarder"]["replay"] for event in bus.delivered] == [True] * 3
    books = installation.counters()
    assert (books["sent"], books["pending"], books["recorded"]) == (5, 0, 5)
    assert installation.run_command("check").code == 0, "the books balance"


def test_a_replay_is_the_same_event_but_for_the_mark(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "fresh")
    installation.run_command("once")
    assert installation.run_command("replay", "--since", "24h", "--yes").code == 0
    first, again = [event for event in bus.delivered if event.detail["executionId"] == "fresh"]
    assert "replay" not in first.detail["forwarder"]
    marked = first.detail["forwarder"] | {"replay": True}
    assert again.detail == first.detail | {"forwarder": marked}
    assert again.entry["Time"] == first.entry["Time"]


@pytest.mark.long
def test_it_can_be_asked_for_again(installation: Installation, bus: StrictEventBridge) -> None:
    for _ in range(2):
        assert installation.run_command("replay", "--since", "2h", "--yes").code == 0
    assert sent(bus) == sorted(["now-1", "now-2", "of-v"] * 2)


@pytest.mark.long
def test_a_window_has_its_first_moment_and_not_its_last(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "edge", ago=2 * HOUR)
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
def test_without_an_end_a_window_ends_now(installation: Installation, bus: StrictEventBridge) -> None:
    assert installation.run_command("replay", "--from", ago(hours=4), "--yes").code == 0
    assert sent(bus) == ["now-1", "now-2", "of-v", "three-hours"]


@pytest.mark.long
def test_one_workflow_alone_can_be_sent_again(installation: Installation, bus: StrictEventBridge) -> None:
    assert installation.run_command("replay", "--since", "24h", "--workflow", "v", "--yes").code == 0
    assert sent(bus) == ["of-v"]


def test_a_dry_run_counts_and_changes_nothing(installation: Installation, bus: StrictEventBridge) -> None:
    done = installation.run_command("replay", "--since", "24h", "--dry-run")
    assert done.code == 0
    assert "5 events" in done.out
    assert sent(bus) == []
    assert installation.counters()["pending"] == 0


@pytest.mark.long
def test_what_is_still_owed_or_dead_is_not_part_of_it(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "dead", ago=30)
    bus.next(bus_faults.entry_codes({0: "MalformedDetail"}))
    installation.run_command("once")
    fail(alloy, "owed", ago=20)
    bus.always(publishing(bus_faults.throttled()))
    installation.run_command("once", "--timeout", "1s")
    assert installation.run_command("replay", "--since", "2h", "--dry-run", "--json").json()["available"] == 3
    bus.clear()
    assert installation.run_command("replay", "--since", "2h", "--yes").code == 0
    marks = {event.detail["executionId"]: event.detail["forwarder"].get("replay") for event in bus.delivered}
    assert marks == {"owed": None, "now-1": True, "now-2": True, "of-v": True}
    assert [letter["execution_id"] for letter in installation.dead_letters()] == ["dead"]


# What is not held any more.


def test_what_is_not_held_any_more_is_named_and_the_rest_is_sent(
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
def test_nothing_held_is_said_and_is_no_error(installation: Installation, bus: StrictEventBridge) -> None:
    installation.change("ledger", payload_retention="0s")
    installation.run_command("once")
    done = installation.run_command("replay", "--since", "24h")
    assert done.code == 0
    assert "0 events" in done.out
    assert sent(bus) == []


# Asking.


def test_at_a_terminal_the_count_is_confirmed_and_a_bar_is_drawn(
    installation: Installation, bus: StrictEventBridge
) -> None:
    result = run_at_terminal(installation, "replay", "--since", "24h", prompt="[y/N]", answer="y\n")
    assert result.code == 0, result
    assert "send 5 events again?" in result.screen
    assert "━" in result.screen
    assert "5/5" in result.screen
    assert len(sent(bus)) == 5


@pytest.mark.long
def test_at_a_terminal_no_means_no(installation: Installation, bus: StrictEventBridge) -> None:
    result = run_at_terminal(installation, "replay", "--since", "24h", prompt="[y/N]", answer="n\n")
    assert result.code == 1
    assert sent(bus) == []
    assert installation.counters()["pending"] == 0


def test_with_nobody_to_confirm_it_is_refused_with_the_hint(installation: Installation, bus: StrictEventBridge) -> None:
    done = installation.run_command("replay", "--since", "24h")
    assert done.code == 2
    assert "--yes" in done.err
    assert sent(bus) == []
    assert installation.counters()["pending"] == 0


@pytest.mark.long
def test_as_json_it_is_one_document_whatever_happens(installation: Installation) -> None:
    report = installation.run_command("replay", "--since", "2h", "--yes", "--json").json()
    assert report == {"available": 3, "expired": {}, "dry_run": False}
    installation.change(enabled=False)
    assert installation.run_command("replay", "--since", "2h", "--yes", "--json").json()["available"] == 3


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--since", "24h", "--from", "2026-11-20"],
        ["--since", "24h", "--to", "2026-11-20"],
        ["--to", "2026-11-20"],
        ["--since", "soon"],
        ["--from", "yesterday"],
        ["--from", "2026-11-20", "--to", "2026-11-19"],
        ["--from", "2026-11-20", "--to", "2026-11-20"],
        ["--from", "now"],
        ["--from", "24h"],
    ],
)
def test_a_time_that_is_none_is_a_usage_error_and_changes_nothing(installation: Installation, words: list[str]) -> None:
    done = installation.run_command("replay", *words, "--yes")
    assert done.code == 2
    assert "time" in done.err
    assert "Traceback" not in done.output
    assert installation.counters()["pending"] == 0


# Who sends.


def test_a_running_daemon_sends_them(
    installation: Installation, daemon: ForwarderProcess, bus: StrictEventBridge
) -> None:
    done = installation.run_command("replay", "--since", "24h", "--yes")
    assert done.code == 0, done.output
    assert len(sent(bus)) == 5, "the command waits until they are sent"
    assert all(event.detail["forwarder"]["replay"] for event in bus.delivered)
    assert daemon.is_running


def test_a_bus_that_is_down_is_told_and_they_stay_owed(installation: Installation, bus: StrictEventBridge) -> None:
    bus.keys.clear()
    done = installation.run_command("replay", "--since", "24h", "--yes")
    assert done.code == 77
    assert "hint:" in done.err
    assert installation.counters()["pending"] == 5


@pytest.mark.long
def test_what_a_replay_left_owed_is_sent_by_the_next_pass_with_its_mark(
    installation: Installation, bus: StrictEventBridge
) -> None:
    installation.change(enabled=False)
    done = installation.run_command("replay", "--since", "24h", "--yes")
    assert done.code == 0
    assert "switched off" in done.output
    assert installation.counters()["pending"] == 5
    installation.change(enabled=True)
    installation.run_command("once")
    assert len(sent(bus)) == 5
    assert all(event.detail["forwarder"]["replay"] for event in bus.delivered)


def test_an_interrupt_ends_it_and_what_was_not_sent_stays_owed(
    installation: Installation, bus: StrictEventBridge
) -> None:
    bus.always(publishing(bus_faults.throttled()))
    result = run_at_terminal(
        installation, "replay", "--since", "24h", prompt="[y/N]", answer="y\n",
        interrupt=lambda: any(served.operation == "PutEvents" for served in list(bus.served)),
    )  # fmt: skip
    assert result.code == 128 + signal.SIGINT
    assert "Traceback" not in result.screen
    assert installation.counters()["pending"] == 5
    bus.clear()
    installation.run_command("once")
    assert len(sent(bus)) == 5


@pytest.mark.long
def test_without_a_ledger_there_is_nothing_to_send(installation: Installation) -> None:
    for path in installation.directory.glob("forwarder.db*"):
        path.unlink()
    done = installation.run_command("replay", "--since", "24h", "--yes")
    assert done.code == 1
    assert "no ledger" in done.err
    assert not list(installation.directory.glob("forwarder.db"))
