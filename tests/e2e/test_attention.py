"""The commands that report problems: `status --check`, `status --all`, the exit code of `once`, and `purge --all`."""

from __future__ import annotations

import pytest

from tests.e2e.harness import fail, sent
from tests.e2e.terminal import run_at_terminal
from tests.fakes.alloy import FakeAlloy, unauthorized
from tests.fakes.bus_faults import entry_codes
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

REFUSED = "MalformedDetail"
"""The code of a permanent refusal."""


@pytest.fixture
def dead(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> list[str]:
    """Two dead letters, added by one pass."""
    fail(alloy, "a", "b")
    bus.next(entry_codes({0: REFUSED, 1: REFUSED}))
    installation.run_command("once")
    return ["a", "b"]


def test_once_that_adds_a_dead_letter_exits_1(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a", "b")
    bus.next(entry_codes({0: REFUSED}))
    result = installation.run_command("once")
    assert result.code == 1
    assert "this pass added 1 dead letter" in result.err
    assert "dead-letters list" in result.err


@pytest.mark.usefixtures("dead")
def test_once_after_older_dead_letters_exits_0(installation: Installation) -> None:
    result = installation.run_command("once", "--json")
    assert (result.code, result.json()["dead_lettered"], result.json()["counters"]["dead"]) == (0, 0, 2)


def test_once_with_a_refused_key_and_a_dead_letter_exits_77(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, dead: list[str]
) -> None:
    installation.run_command("dead-letters", "retry", *dead)
    bus.next(entry_codes({0: REFUSED, 1: REFUSED}))
    alloy.always(lambda _: unauthorized())
    assert installation.run_command("once").code == 77


@pytest.mark.usefixtures("dead")
def test_status_check_with_dead_letters_exits_1(installation: Installation) -> None:
    installation.change(enabled=False)  # otherwise it would be reported as not running
    result = installation.run_command("status", "--check")
    assert result.code == 1
    assert "2 dead letters" in result.out
    assert installation.run_command("status").code == 0


def test_status_check_of_a_stopped_forwarder_exits_1(installation: Installation) -> None:
    result = installation.run_command("status", "--check", "--json")
    assert (result.code, result.json()["attention"]) == (1, ["the forwarder is switched on and not running"])


def test_status_check_without_problems_exits_0(installation: Installation, alloy: FakeAlloy) -> None:
    with installation.start() as daemon:
        daemon.wait_until(lambda: installation.run_command("status", "--check").code == 0)
        alloy.always(lambda _: unauthorized())
        daemon.wait_until(lambda: installation.run_command("status", "--check").code == 1)
        assert "source is FAILED" in installation.run_command("status").out
        assert daemon.stop() == 0


def test_status_with_invalid_settings_exits_78(installation: Installation) -> None:
    installation.change(enabled=False)
    installation.change("source", page_size="many")
    result = installation.run_command("status", "--check")
    assert result.code == 78
    assert "source.page_size" in result.out
    assert f"(edit {installation.settings_file})" in result.out


def test_status_lists_feeds_with_problems_and_all_on_request(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", workflows=["w", "gone", "other"])
    alloy.api.add_workflow("other")
    installation.run_command("once")
    short = installation.run_command("status").out
    assert "gone" in short
    assert "other " not in short
    assert "2 of 3 feeds without a problem" in short
    names = [line.split()[0] for line in installation.run_command("status", "--all").out.splitlines()[-3:]]
    assert (names[0], set(names[1:])) == ("gone", {"w", "other"})


@pytest.mark.parametrize("command", [("once",), ("run",)])
def test_status_omits_a_feed_that_was_removed(
    installation: Installation, alloy: FakeAlloy, command: tuple[str, ...]
) -> None:
    """Its checkpoint stays: a feed that is added again continues where it was."""
    installation.change("source", workflows=["w", "v"])
    alloy.api.add_workflow("v")
    installation.run_command("once")
    installation.change("source", workflows=["w"])
    if command == ("once",):
        installation.run_command("once")
        assert watched(installation) == ["w"]
    else:
        with installation.start() as daemon:
            daemon.wait_until(lambda: watched(installation) == ["w"])
            installation.change("source", workflows=["w", "v"])
            daemon.wait_until(lambda: watched(installation) == ["v", "w"])
            assert daemon.stop() == 0


def watched(installation: Installation) -> list[str]:
    return sorted(feed["workflow_id"] for feed in installation.run_command("status", "--json").json()["feeds"])


def test_purge_all_asks_with_the_number(installation: Installation, dead: list[str]) -> None:
    refused = run_at_terminal(installation, "dead-letters", "purge", "--all", prompt="[y/N]", answer="n\n")
    assert refused.code != 0
    assert "purge 2 dead letters for good?" in refused.screen
    assert len(installation.dead_letters()) == len(dead)
    assert run_at_terminal(installation, "dead-letters", "purge", "--all", prompt="[y/N]", answer="y\n").code == 0
    assert installation.dead_letters() == []


@pytest.mark.usefixtures("dead")
def test_purge_all_without_a_terminal_needs_yes(installation: Installation) -> None:
    result = installation.run_command("dead-letters", "purge", "--all")
    assert result.code == 2
    assert "--yes" in result.err
    assert len(installation.dead_letters()) == 2
    assert installation.run_command("dead-letters", "purge", "--all", "--yes").code == 0


def test_removed_feed_that_returns_sends_nothing_twice(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    installation.run_command("once")
    installation.change("source", workflows=["v"])
    alloy.api.add_workflow("v")
    installation.run_command("once")
    fail(alloy, "b")
    installation.change("source", workflows=["v", "w"])
    installation.run_command("once")
    assert sent(bus) == ["a", "b"]
