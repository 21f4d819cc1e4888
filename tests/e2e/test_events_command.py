"""`events list | show`, and `replay ID`: stored events in the terminal."""

from __future__ import annotations

import pytest

from forwarder.ledger import SqliteLedger
from forwarder.model import Checkpoint
from tests.e2e.harness import fail, numbered, sent
from tests.factories import FEED, entry
from tests.fakes.alloy import FakeAlloy
from tests.fakes.bus_faults import entry_codes
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation
from tests.virtual_clock import NOON


@pytest.fixture
def history(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    """One event was rejected, and two were sent."""
    fail(alloy, "a", "b", "c")
    bus.next(entry_codes({0: "MalformedDetail"}))
    installation.run_command("once")


def listed(installation: Installation, *options: str) -> list[str]:
    rows = installation.run_command("events", "list", "--json", *options).json()
    return sorted(row["execution_id"] for row in rows)


@pytest.mark.usefixtures("history")
def test_events_list_filters_and_searches(installation: Installation) -> None:
    assert listed(installation) == ["a", "b", "c"]
    (dead,) = listed(installation, "--state", "dead")
    assert listed(installation, "--text", "malformedDETAIL", "--since", "1h", "--workflow", "w") == [dead]
    assert listed(installation, "--workflow", "unknown") == []
    assert listed(installation, "--to", "2020-01-01T00:00:00Z") == []
    done = installation.run_command("events", "list", "--limit", "1")
    assert len(done.out.splitlines()) == 2, "the head of the table and one event"
    assert "1 of 3" in done.err


@pytest.mark.parametrize(
    "options", [["--from", "yesterday"], ["--since", "1h", "--to", "2026-01-01"], ["--limit", "0"]]
)
def test_events_list_invalid_option_is_refused(installation: Installation, options: list[str]) -> None:
    done = installation.run_command("events", "list", *options)
    assert (done.code, done.out) == (2, "")
    assert options[0] in done.err


@pytest.mark.usefixtures("history")
def test_events_show_prints_one_event(installation: Installation) -> None:
    shown = installation.run_command("events", "show", "b", "--json").json()
    assert (shown["execution_id"], shown["detail"]["executionId"]) == ("b", "b")
    assert "execution id: b" in installation.run_command("events", "show", "b").out
    unknown = installation.run_command("events", "show", "unknown")
    assert unknown.code == 2
    assert "unknown" in unknown.err


@pytest.mark.usefixtures("history")
def test_replay_ids_sends_only_these_events(installation: Installation, bus: StrictEventBridge) -> None:
    first, _ = listed(installation, "--state", "sent")
    (dead,) = listed(installation, "--state", "dead")
    before = sent(bus)
    assert installation.run_command("replay", first, "--since", "1h", "--yes").code == 2
    refused = installation.run_command("replay", first, dead, "--yes")
    assert (refused.code, sent(bus)) == (2, before)
    assert "dead-letters retry" in refused.err
    assert installation.run_command("replay", first, "--yes").code == 0
    assert sent(bus) == sorted([*before, first])
    assert bus.delivered[-1].detail["forwarder"]["replay"] is True


async def test_events_list_reports_events_not_searched(installation: Installation) -> None:
    async with SqliteLedger(installation.ledger_file, create=True) as ledger:
        await ledger.add_feeds({FEED: Checkpoint()})
        await ledger.record(FEED, [entry(id_) for id_ in numbered(1001)], now=NOON)
    done = installation.run_command("events", "list", "--text", "x00", "--json")
    assert [row["execution_id"] for row in done.json()] == [f"x00{number}" for number in range(9, 0, -1)]
    assert "older events were not searched" in done.err
    assert installation.run_command("events", "list", "--text", "x00", "--to", "2200-01-01").err == done.err
    assert installation.run_command("events", "list", "--workflow", "\udcff").out == "no stored event matches\n"
