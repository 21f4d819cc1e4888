"""`dead-letters`: what the bus will not accept is kept, shown, tried again or dropped for good."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.harness import fail, numbered, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.bus_faults import entry_codes
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with three dead letters, made once: each test takes a copy."""
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        installation = Installation(tmp_path_factory.mktemp("dead"), alloy=alloy.url, bus=bus.url)
        installation.create_vault()
        fail(alloy, *numbered(3))
        bus.next(entry_codes(dict.fromkeys(range(3), "MalformedDetail")))
        assert installation.run_command("once").code == 0
        return installation.directory


@pytest.fixture
def dead(installation: Installation, alloy: FakeAlloy, ledger: Path) -> list[str]:
    for path in ledger.glob("forwarder.db*"):
        shutil.copy2(path, installation.directory)
    fail(alloy, *numbered(3))
    return numbered(3)


def test_they_are_listed_with_their_reason(installation: Installation, dead: list[str]) -> None:
    letters = installation.dead_letters()
    assert sorted(str(letter["execution_id"]) for letter in letters) == dead
    assert {(letter["code"], letter["reason"]) for letter in letters} == {("MalformedDetail", "Detail is malformed.")}
    listed = installation.run_command("dead-letters", "list").out
    assert not [id_ for id_ in dead if id_ not in listed]


def test_one_is_shown_whole(installation: Installation, dead: list[str]) -> None:
    shown = installation.run_command("dead-letters", "show", dead[1]).json()
    assert shown["detail"]["executionId"] == dead[1]
    assert shown["reason"] == "Detail is malformed."
    (attempt,) = shown["attempts"]
    assert (attempt["code"], attempt["at"], shown["omitted_attempts"]) == ("MalformedDetail", shown["died_at"], 0)


@pytest.mark.usefixtures("dead")
def test_one_that_is_none_cannot_be_shown(installation: Installation) -> None:
    done = installation.run_command("dead-letters", "show", "nobody")
    assert done.code == 2
    assert "nobody" in done.err


def test_one_that_is_retried_is_sent(installation: Installation, dead: list[str], bus: StrictEventBridge) -> None:
    assert installation.run_command("dead-letters", "retry", dead[0]).code == 0
    assert installation.counters()["pending"] == 1
    installation.run_command("once")
    assert sent(bus) == dead[:1]
    assert len(installation.dead_letters()) == 2


def test_all_are_retried_beside_a_running_daemon_which_notices(
    installation: Installation, dead: list[str], bus: StrictEventBridge
) -> None:
    with installation.start() as daemon:
        daemon.wait_for_log("started")
        assert installation.run_command("dead-letters", "retry", "--all").code == 0
        daemon.wait_until(lambda: sent(bus) == dead, within=10)


def test_what_is_purged_is_gone_and_its_id_stays_known(
    installation: Installation, dead: list[str], bus: StrictEventBridge
) -> None:
    assert installation.run_command("dead-letters", "purge", *dead[:2]).code == 0
    assert [letter["execution_id"] for letter in installation.dead_letters()] == dead[2:]
    installation.run_command("once")
    assert sent(bus) == [], "it is still listed by the API, and not recorded again"
    books = installation.counters()
    assert (books["recorded"], books["dead"], books["purged"]) == (3, 1, 2)


@pytest.mark.usefixtures("dead")
def test_all_are_purged(installation: Installation) -> None:
    assert installation.run_command("dead-letters", "purge", "--all").code == 0
    assert installation.dead_letters() == []


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize("command", ["retry", "purge"])
def test_without_ids_it_is_a_usage_error_and_touches_nothing(installation: Installation, command: str) -> None:
    assert installation.run_command("dead-letters", command).code == 2
    assert len(installation.dead_letters()) == 3


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize("command", ["retry", "purge"])
def test_an_id_that_is_no_dead_letter_is_named(installation: Installation, command: str) -> None:
    done = installation.run_command("dead-letters", command, "nobody")
    assert done.code == 2
    assert "nobody" in done.err


@pytest.mark.parametrize("words", [["list"], ["retry", "--all"], ["purge", "--all"]])
def test_before_the_first_run_there_are_none(installation: Installation, words: list[str]) -> None:
    done = installation.run_command("dead-letters", *words)
    assert "Traceback" not in done.output
    assert not list(installation.directory.glob("forwarder.db*"))


def test_a_dead_letter_with_an_odd_id_can_be_shown_and_retried(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "-a/b 🫖")
    bus.next(entry_codes({0: "MalformedDetail"}))
    installation.run_command("once")
    assert installation.run_command("dead-letters", "show", "--", "-a/b 🫖").json()["execution_id"] == "-a/b 🫖"
    assert installation.run_command("dead-letters", "retry", "--", "-a/b 🫖").code == 0
    installation.run_command("once")
    assert sent(bus) == ["-a/b 🫖"]
