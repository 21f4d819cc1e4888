"""`replay`: confirmation, usage errors, interrupts and JSON output."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.harness import publishing, sent
from tests.e2e.terminal import run_at_terminal
from tests.fakes import bus_faults
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

pytestmark = pytest.mark.usefixtures("five_sent_events")


def test_replay_at_a_terminal_confirms_and_draws_a_bar(installation: Installation, bus: StrictEventBridge) -> None:
    result = run_at_terminal(installation, "replay", "--since", "24h", prompt="[y/N]", answer="y\n")
    assert result.code == 0, result
    assert "send 5 events again?" in result.screen
    assert "━" in result.screen
    assert "5/5" in result.screen
    assert len(sent(bus)) == 5


@pytest.mark.long
def test_replay_declined_at_a_terminal_sends_nothing(installation: Installation, bus: StrictEventBridge) -> None:
    result = run_at_terminal(installation, "replay", "--since", "24h", prompt="[y/N]", answer="n\n")
    assert result.code == 1
    assert sent(bus) == []
    assert installation.counters()["pending"] == 0


def test_replay_without_confirmation_is_refused_with_a_hint(installation: Installation, bus: StrictEventBridge) -> None:
    done = installation.run_command("replay", "--since", "24h")
    assert done.code == 2
    assert "--yes" in done.err
    assert sent(bus) == []
    assert installation.counters()["pending"] == 0


@pytest.mark.long
def test_replay_as_json_is_one_document(installation: Installation) -> None:
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
def test_replay_with_a_wrong_time_is_a_usage_error(installation: Installation, words: list[str]) -> None:
    """Nothing is changed."""
    done = installation.run_command("replay", *words, "--yes")
    assert done.code == 2
    assert "time" in done.err or words[0] in done.err
    if len(words) == 2:
        assert f"error: {words[0]} is not a " in done.err or words[0] == "--to"
    assert "Traceback" not in done.output
    assert installation.counters()["pending"] == 0


def test_interrupted_replay_stays_pending(installation: Installation, bus: StrictEventBridge) -> None:
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
def test_replay_without_a_ledger_fails(installation: Installation) -> None:
    for path in installation.directory.glob("forwarder.db*"):
        path.unlink()
    done = installation.run_command("replay", "--since", "24h", "--yes")
    assert done.code == 1
    assert "no ledger" in done.err
    assert not list(installation.directory.glob("forwarder.db"))
