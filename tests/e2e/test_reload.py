"""The settings and the vault change under a running daemon."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.e2e.harness import Daemon, Home, fail, numbered, sent
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import KEY, StrictEventBridge
from tests.fakes.signing import Key


@pytest.fixture
def daemon(home: Home, alloy: FakeAlloy, bus: StrictEventBridge) -> Iterator[Daemon]:
    """It runs, and has sent one event."""
    fail(alloy, "first")
    with home.daemon() as daemon:
        daemon.until(lambda: sent(bus) == ["first"])
        yield daemon


def source_of(bus: StrictEventBridge, id_: str) -> str:
    return next(str(event.entry["Source"]) for event in bus.delivered if event.detail["executionId"] == id_)


def goes_on(daemon: Daemon, alloy: FakeAlloy, bus: StrictEventBridge, id_: str = "goes-on") -> None:
    fail(alloy, id_)
    daemon.until(lambda: id_ in sent(bus))


def takes_effect(daemon: Daemon, alloy: FakeAlloy, bus: StrictEventBridge, source: str) -> None:
    """New failures come under the new source, sooner or later."""
    ids = iter(numbered(500, source))

    def new_source() -> bool:
        id_ = next(ids)
        goes_on(daemon, alloy, bus, id_)
        return source_of(bus, id_) == source

    daemon.until(new_source, within=5)


def test_a_changed_setting_takes_effect_without_a_restart(
    home: Home, daemon: Daemon, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    home.change("event", source="second")
    takes_effect(daemon, alloy, bus, "second")


def test_a_file_edited_in_place_takes_effect(
    home: Home, daemon: Daemon, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    with home.file.open("a") as file:
        file.write('\n[event]\nsource = "in-place"\n')
    takes_effect(daemon, alloy, bus, "in-place")


def test_a_link_pointed_elsewhere_takes_effect(home: Home, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    """As Kubernetes swaps a mounted ConfigMap: the file is the same link to `..data`, which now means another."""
    text = home.file.read_text()
    for version, source in (("v1", "one"), ("v2", "two")):
        (home.place / version).mkdir()
        (home.place / version / "forwarder.toml").write_text(f'{text}\n[event]\nsource = "{source}"\n')
    data = home.place / "..data"
    data.symlink_to("v1")
    home.file.unlink()
    home.file.symlink_to("..data/forwarder.toml")
    with home.daemon() as daemon:
        goes_on(daemon, alloy, bus)
        assert source_of(bus, "goes-on") == "one"
        fresh = home.place / "..data_tmp"
        fresh.symlink_to("v2")
        fresh.rename(data)
        takes_effect(daemon, alloy, bus, "two")


WRONG = {
    "unknown key": 'enabled = true\nenabeld = false\n[destination]\nevent_bus = "failures"\nregion = "x"\n',
    "aws source": '[event]\nsource = "aws.x"\n[destination]\nevent_bus = "failures"\nregion = "eu-central-1"\n',
    "emptied": "",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_file_keeps_the_last_good_settings_and_is_reported(
    home: Home, daemon: Daemon, alloy: FakeAlloy, bus: StrictEventBridge, wrong: str
) -> None:
    home.write(WRONG[wrong])
    daemon.logs("error", "settings")
    goes_on(daemon, alloy, bus)
    report = home("status", "--json").json()
    assert report["settings_error"]
    assert report["running"] is True


def test_a_file_that_is_no_toml_keeps_the_last_good_settings_and_is_reported(
    home: Home, daemon: Daemon, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    home.write("enabled = \n")
    daemon.logs("error", "settings")
    goes_on(daemon, alloy, bus)
    assert "TOML" in home("status").output


def test_status_works_even_while_the_file_is_no_toml(home: Home, daemon: Daemon) -> None:
    home.write("enabled = \n")
    daemon.logs("error", "settings")
    done = home("status", "--json")
    assert done.code == 0, done.err
    assert done.json()["running"] is True


def test_a_removed_file_keeps_the_last_good_settings_and_is_reported(
    home: Home, daemon: Daemon, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    home.file.unlink()
    daemon.logs("error", "settings")
    goes_on(daemon, alloy, bus)


def test_a_wrong_file_is_reported_once_and_not_at_every_look(home: Home, daemon: Daemon) -> None:
    home.write("enabled = \n")
    daemon.logs("error", "settings")
    home.write("enabled = [\n")
    daemon.until(lambda: sum('"error"' in line for line in daemon.log.splitlines()) >= 2)
    assert sum('"error"' in line for line in daemon.log.splitlines()) == 2


def test_a_mended_file_is_taken_up_again(home: Home, daemon: Daemon, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    home.write("enabled = \n")
    daemon.logs("error", "settings")
    home.change("event", source="mended")
    takes_effect(daemon, alloy, bus, "mended")
    assert not home("status", "--json").json()["settings_error"]


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        ("ledger", {"url": "sqlite:///other.db"}),
        ("web", {"listen": "127.0.0.1:0"}),
        ("vault", {"file": "other.keys"}),
    ],
)
def test_a_setting_that_needs_a_restart_says_so(
    home: Home, daemon: Daemon, alloy: FakeAlloy, bus: StrictEventBridge, section: str, fields: dict[str, str]
) -> None:
    home.change(section, **fields)
    daemon.logs("start", f'"{section}"', "warning")
    goes_on(daemon, alloy, bus)


def test_a_hangup_looks_at_the_settings_and_lives(
    home: Home, daemon: Daemon, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    home.change("event", source="hup")
    daemon.send(signal.SIGHUP)
    takes_effect(daemon, alloy, bus, "hup")


def test_a_workflow_added_to_the_file_is_watched(
    home: Home, daemon: Daemon, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "theirs", workflow="v")
    home.change("source", workflows=["w", "v"])
    daemon.until(lambda: sent(bus) == ["first", "theirs"])


def test_a_workflow_taken_out_of_the_file_is_watched_no_more(
    home: Home, daemon: Daemon, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    home.change("source", workflows=["v"])
    fail(alloy, "theirs", workflow="v")
    daemon.until(lambda: "theirs" in sent(bus))
    fail(alloy, "ours")
    fail(alloy, "again-theirs", workflow="v")
    daemon.until(lambda: "again-theirs" in sent(bus))
    assert "ours" not in sent(bus)


def test_keys_changed_while_it_runs_are_used(
    home: Home, daemon: Daemon, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    alloy.api.api_key = "rolled-alloy-key"
    bus.keys = {"AKIAROLLED0000000001": Key("AKIAROLLED0000000001", "rolled+secret")}
    daemon.logs("401")
    home("keys", "set", "alloy-api-key", stdin="rolled-alloy-key\n")
    home("keys", "set", "aws-access-key-id", stdin="AKIAROLLED0000000001\n")
    home("keys", "set", "aws-secret-access-key", stdin="rolled+secret\n")
    goes_on(daemon, alloy, bus)


def test_a_rotation_while_it_runs_disturbs_nothing(
    home: Home, daemon: Daemon, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    assert home("keys", "rotate").code == 0
    alloy.api.api_key = "rolled-alloy-key"
    home("keys", "set", "alloy-api-key", stdin="rolled-alloy-key\n")
    goes_on(daemon, alloy, bus)


def test_a_vault_damaged_while_it_runs_is_reported_and_the_last_good_keys_stay(
    home: Home, daemon: Daemon, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    (home.place / "forwarder.keys").write_text("{}")
    daemon.logs("error", "forwarder.keys")
    goes_on(daemon, alloy, bus)
    assert not [secret for secret in (API_KEY, KEY.secret) if secret in daemon.log]
