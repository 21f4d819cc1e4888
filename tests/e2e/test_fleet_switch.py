"""`enable --fleet` and `disable --fleet`: the switch of all processes on a ledger in DynamoDB."""

from functools import partial
from pathlib import Path

import pytest

from tests.e2e.harness import fail, polls, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.dynalite import new_ledger_url
from tests.harness.installation import Installation
from tests.harness.process import ForwarderProcess, never


def installed(folder: Path, alloy: FakeAlloy, bus: StrictEventBridge, url: str) -> Installation:
    folder.mkdir()
    installation = Installation(
        folder, alloy=alloy.url, bus=bus.url, ledger={"url": url, "heartbeat_interval": "1s"}
    )  # fmt: skip
    installation.create_vault()
    return installation


@pytest.fixture
def pair(tmp_path: Path, alloy: FakeAlloy, bus: StrictEventBridge) -> tuple[Installation, Installation]:
    url = new_ledger_url()
    return installed(tmp_path / "one", alloy, bus, url), installed(tmp_path / "two", alloy, bus, url)


def is_paused(daemon: ForwarderProcess) -> bool:
    return daemon.has_logged('"component": "source"', '"state": "PAUSED"', "switched off for all processes")


@pytest.mark.dynamodb
@pytest.mark.parametrize("on_enable", ["catch_up", "skip"])
def test_switch_of_the_fleet_pauses_and_resumes_all_processes(
    pair: tuple[Installation, Installation], alloy: FakeAlloy, bus: StrictEventBridge, on_enable: str
) -> None:
    """The failures of the meantime are sent or skipped, as `on_enable` in the file of the command says."""
    one, two = pair
    before = one.settings_file.read_text()
    with one.start() as first, two.start() as second:
        fail(alloy, "a")
        first.wait_until(lambda: sent(bus) == ["a"])
        done = two.run_command("disable", "--fleet")
        assert (done.code, done.output) == (0, "switched off for all processes\n")
        for daemon in (first, second):
            daemon.wait_until(partial(is_paused, daemon))
        count = polls(alloy)
        fail(alloy, "meanwhile", ago=0)
        assert never(lambda: polls(alloy) > count, within=1)
        two.change(on_enable=on_enable)
        outcome = "are skipped" if on_enable == "skip" else "are sent"
        enabled = two.run_command("enable", "--fleet").out.splitlines()
        assert enabled[0] == "switched on for all processes"
        assert enabled[1].startswith(f'failures since it was switched off {outcome}: on_enable = "{on_enable}"')
        first.wait_until(lambda: polls(alloy) > count)
        fail(alloy, "b", ago=-1)
        first.wait_until(lambda: "b" in sent(bus))
        assert first.stop() == second.stop() == 0
    assert sent(bus) == (["a", "b"] if on_enable == "skip" else ["a", "b", "meanwhile"])
    assert one.settings_file.read_text() == before


@pytest.mark.dynamodb
def test_switch_of_the_fleet_that_is_set_already_is_reported(pair: tuple[Installation, Installation]) -> None:
    one, two = pair
    assert one.run_command("enable", "--fleet").output == "it is on already for all processes\n"
    assert one.run_command("disable", "--fleet").output == "switched off for all processes\n"
    assert two.run_command("disable", "--fleet").output == "it is off already for all processes\n"


@pytest.mark.dynamodb
def test_enable_of_the_fleet_names_a_process_that_stays_off(pair: tuple[Installation, Installation]) -> None:
    one, _ = pair
    one.change(enabled=False)
    one.run_command("disable", "--fleet")
    done = one.run_command("enable", "--fleet")
    assert done.out.startswith("switched on for all processes\n")
    assert done.err == "this process stays off: its settings file has `enabled = false` (`forwarder enable`)\n"


@pytest.mark.dynamodb
def test_replay_obeys_the_switch_of_the_fleet(
    pair: tuple[Installation, Installation], alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    one, _ = pair
    one.change("source", start_from="beginning")
    fail(alloy, "a")
    assert one.run_command("once").code == 0
    one.run_command("disable", "--fleet")
    done = one.run_command("replay", "a", "--yes")
    assert (done.code, "`forwarder enable --fleet`" in done.err) == (0, True)
    assert sent(bus) == ["a"]
    one.run_command("enable", "--fleet")
    assert one.run_command("once").code == 0
    assert sent(bus) == ["a", "a"]


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_switch_of_the_fleet_needs_a_shared_ledger(installation: Installation, command: str) -> None:
    installation.run_command("once")
    before = installation.settings_file.read_text()
    done = installation.run_command(command, "--fleet")
    assert done.code == 1
    assert "this ledger is not shared" in done.err
    assert "`forwarder enable` or `disable`" in done.err
    assert installation.settings_file.read_text() == before
