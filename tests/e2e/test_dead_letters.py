"""`dead-letters`: permanently rejected events are listed, shown, retried and purged."""

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
    """Create a ledger with three dead letters. Each test uses a copy."""
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        installation = Installation(tmp_path_factory.mktemp("dead"), alloy=alloy.url, bus=bus.url)
        installation.create_vault()
        fail(alloy, *numbered(3))
        bus.next(entry_codes(dict.fromkeys(range(3), "MalformedDetail")))
        assert installation.run_command("once").code == 1
        return installation.directory


@pytest.fixture
def dead(installation: Installation, alloy: FakeAlloy, ledger: Path) -> list[str]:
    for path in ledger.glob("forwarder.db*"):
        shutil.copy2(path, installation.directory)
    fail(alloy, *numbered(3))
    return numbered(3)


def test_list_names_each_dead_letter_with_its_reason(installation: Installation, dead: list[str]) -> None:
    letters = installation.dead_letters()
    assert sorted(str(letter["execution_id"]) for letter in letters) == dead
    assert {(letter["code"], letter["reason"]) for letter in letters} == {("MalformedDetail", "Detail is malformed.")}
    listed = installation.run_command("dead-letters", "list").out
    assert not [id_ for id_ in dead if id_ not in listed]


def test_show_has_the_whole_dead_letter(installation: Installation, dead: list[str]) -> None:
    dead_letter = installation.run_command("dead-letters", "show", dead[1]).json()
    assert dead_letter["detail"]["executionId"] == dead[1]
    assert dead_letter["reason"] == "Detail is malformed."
    (attempt,) = dead_letter["attempts"]
    assert (attempt["code"], attempt["at"], dead_letter["omitted_attempts"]) == (
        "MalformedDetail",
        dead_letter["died_at"],
        0,
    )


@pytest.mark.usefixtures("dead")
def test_show_of_an_unknown_id_fails(installation: Installation) -> None:
    done = installation.run_command("dead-letters", "show", "nobody")
    assert done.code == 2
    assert "nobody" in done.err


def test_retried_dead_letter_is_sent(installation: Installation, dead: list[str], bus: StrictEventBridge) -> None:
    assert installation.run_command("dead-letters", "retry", dead[0]).code == 0
    assert installation.counters()["pending"] == 1
    installation.run_command("once")
    assert sent(bus) == dead[:1]
    assert len(installation.dead_letters()) == 2


def test_retry_of_all_wakes_a_running_daemon(
    installation: Installation, dead: list[str], bus: StrictEventBridge
) -> None:
    with installation.start() as daemon:
        daemon.wait_for_log("started")
        assert installation.run_command("dead-letters", "retry", "--all").code == 0
        daemon.wait_until(lambda: sent(bus) == dead, within=10)


def test_purged_dead_letter_is_removed_and_its_id_kept(
    installation: Installation, dead: list[str], bus: StrictEventBridge
) -> None:
    assert installation.run_command("dead-letters", "purge", *dead[:2]).code == 0
    assert [letter["execution_id"] for letter in installation.dead_letters()] == dead[2:]
    installation.run_command("once")
    assert sent(bus) == [], "it is still listed by the API, and not recorded again"
    counters = installation.counters()
    assert (counters["recorded"], counters["dead"], counters["purged"]) == (3, 1, 2)


@pytest.mark.usefixtures("dead")
def test_purge_of_all_removes_every_dead_letter(installation: Installation) -> None:
    assert installation.run_command("dead-letters", "purge", "--all", "--yes").code == 0
    assert installation.dead_letters() == []


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize("command", ["retry", "purge"])
def test_command_without_ids_is_a_usage_error(installation: Installation, command: str) -> None:
    assert installation.run_command("dead-letters", command).code == 2
    assert len(installation.dead_letters()) == 3


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize("command", ["retry", "purge"])
def test_id_without_a_dead_letter_is_named(installation: Installation, command: str) -> None:
    done = installation.run_command("dead-letters", command, "nobody")
    assert done.code == 2
    assert "nobody" in done.err


@pytest.mark.parametrize("words", [["list"], ["retry", "--all"], ["purge", "--all"]])
def test_command_before_the_first_run_creates_no_ledger(installation: Installation, words: list[str]) -> None:
    done = installation.run_command("dead-letters", *words)
    assert "Traceback" not in done.output
    assert not list(installation.directory.glob("forwarder.db*"))


def test_dead_letter_with_an_odd_id_is_shown_and_retried(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "-a/b 🫖")
    bus.next(entry_codes({0: "MalformedDetail"}))
    installation.run_command("once")
    assert installation.run_command("dead-letters", "show", "--", "-a/b 🫖").json()["execution_id"] == "-a/b 🫖"
    assert installation.run_command("dead-letters", "retry", "--", "-a/b 🫖").code == 0
    installation.run_command("once")
    assert sent(bus) == ["-a/b 🫖"]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--workflow", "w"], [0, 1, 2]),
        (["--workflow", "unknown"], []),
        (["--text", "X001"], [1]),
        (["--workflow", "w", "--text", "malformed"], [0, 1, 2]),
        (["--workflow", "unknown", "--text", "malformed"], []),
    ],
)
def test_retry_changes_what_list_lists_with_a_filter(
    installation: Installation, dead: list[str], options: list[str], numbers: list[int]
) -> None:
    listed = installation.run_command("dead-letters", "list", "--json", *options).json()
    assert sorted(letter["execution_id"] for letter in listed) == [dead[number] for number in numbers]
    done = installation.run_command("dead-letters", "retry", *options)
    assert (done.code, done.err) == (0, "")
    assert (f"{len(numbers)} pending again" if numbers else "no dead letter matches") in done.out
    assert installation.counters()["pending"] == len(numbers)


def test_retry_with_ids_and_a_filter_is_refused(installation: Installation, dead: list[str]) -> None:
    for selection in (dead[0], "--all"):
        assert installation.run_command("dead-letters", "retry", selection, "--workflow", "w").code == 2
    assert installation.counters()["dead"] == 3


@pytest.mark.parametrize("command", ["retry", "purge"])
def test_dead_letters_all_excludes_ids(installation: Installation, command: str) -> None:
    done = installation.run_command("dead-letters", command, "a", "--all")
    assert (done.code, "--all excludes executionIds" in done.err) == (2, True), done.err
