"""The settings and the vault change under a running daemon."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.e2e.harness import fail, numbered, sent
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import KEY, StrictEventBridge
from tests.fakes.signing import Key
from tests.harness.installation import Installation
from tests.harness.process import ForwarderProcess


@pytest.fixture
def daemon(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> Iterator[ForwarderProcess]:
    """Yield a daemon that has sent one event."""
    fail(alloy, "first")
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["first"])
        yield daemon


def source_of(bus: StrictEventBridge, id_: str) -> str:
    return next(str(event.entry["Source"]) for event in bus.delivered if event.detail["executionId"] == id_)


def check_continues(daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge, id_: str = "continues") -> None:
    fail(alloy, id_)
    daemon.wait_until(lambda: id_ in sent(bus))


def check_takes_effect(daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge, source: str) -> None:
    """Wait until a new failure is sent with the new source."""
    ids = iter(numbered(500, source))

    def new_source() -> bool:
        id_ = next(ids)
        check_continues(daemon, alloy, bus, id_)
        return source_of(bus, id_) == source

    daemon.wait_until(new_source, within=5)


def test_changed_setting_takes_effect_without_a_restart(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("event", source="second")
    check_takes_effect(daemon, alloy, bus, "second")


def test_file_edited_in_place_check_takes_effect(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    with installation.settings_file.open("a") as file:
        file.write('\n[event]\nsource = "in-place"\n')
    check_takes_effect(daemon, alloy, bus, "in-place")


def test_link_to_another_file_check_takes_effect(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """Kubernetes updates a mounted ConfigMap so: the file links to `..data`, which becomes a link to a new folder."""
    text = installation.settings_file.read_text()
    for version, source in (("v1", "one"), ("v2", "two")):
        (installation.directory / version).mkdir()
        (installation.directory / version / "forwarder.toml").write_text(f'{text}\n[event]\nsource = "{source}"\n')
    data = installation.directory / "..data"
    data.symlink_to("v1")
    installation.settings_file.unlink()
    installation.settings_file.symlink_to("..data/forwarder.toml")
    with installation.start() as daemon:
        check_continues(daemon, alloy, bus)
        assert source_of(bus, "continues") == "one"
        fresh = installation.directory / "..data_tmp"
        fresh.symlink_to("v2")
        fresh.rename(data)
        check_takes_effect(daemon, alloy, bus, "two")


WRONG = {
    "unknown key": 'enabled = true\nenabeld = false\n[destination]\nevent_bus = "failures"\nregion = "x"\n',
    "aws source": '[event]\nsource = "aws.x"\n[destination]\nevent_bus = "failures"\nregion = "eu-central-1"\n',
    "emptied": "",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_invalid_file_is_reported_and_settings_are_kept(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge, wrong: str
) -> None:
    installation.write(WRONG[wrong])
    daemon.wait_for_log("error", "settings")
    check_continues(daemon, alloy, bus)
    report = installation.run_command("status", "--json").json()
    assert report["settings_error"]
    assert report["running"] is True


def test_file_without_toml_is_reported_and_settings_are_kept(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.write("enabled = \n")
    daemon.wait_for_log("error", "settings")
    check_continues(daemon, alloy, bus)
    assert "TOML" in installation.run_command("status").output


def test_status_works_while_the_file_is_not_toml(installation: Installation, daemon: ForwarderProcess) -> None:
    installation.write("enabled = \n")
    daemon.wait_for_log("error", "settings")
    done = installation.run_command("status", "--json")
    assert done.code == 0, done.err
    assert done.json()["running"] is True


def test_removed_file_is_reported_and_settings_are_kept(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.settings_file.unlink()
    daemon.wait_for_log("error", "settings")
    check_continues(daemon, alloy, bus)


def test_invalid_file_is_reported_once(installation: Installation, daemon: ForwarderProcess) -> None:
    installation.write("enabled = \n")
    daemon.wait_for_log("error", "settings")
    installation.write("enabled = [\n")
    daemon.wait_until(lambda: sum('"error"' in line for line in daemon.log.splitlines()) >= 2)
    assert sum('"error"' in line for line in daemon.log.splitlines()) == 2


def test_corrected_file_check_takes_effect(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.write("enabled = \n")
    daemon.wait_for_log("error", "settings")
    installation.change("event", source="corrected")
    check_takes_effect(daemon, alloy, bus, "corrected")
    assert not installation.run_command("status", "--json").json()["settings_error"]


def test_status_names_a_change_that_waits_for_a_restart(installation: Installation, daemon: ForwarderProcess) -> None:
    before = installation.text()
    installation.change("web", health_listen="127.0.0.1:0")
    daemon.wait_until(lambda: "the change of [web] waits for a restart" in installation.run_command("status").out)
    installation.write(before)
    daemon.wait_until(lambda: "waits for a restart" not in installation.run_command("status").out)


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        ("ledger", {"url": "sqlite:///other.db"}),
        ("web", {"listen": "127.0.0.1:0"}),
        ("vault", {"file": "other.keys"}),
    ],
)
def test_setting_that_needs_a_restart_is_logged(
    installation: Installation,
    daemon: ForwarderProcess,
    alloy: FakeAlloy,
    bus: StrictEventBridge,
    section: str,
    fields: dict[str, str],
) -> None:
    installation.change(section, **fields)
    daemon.wait_for_log("start", f'"{section}"', "warning")
    check_continues(daemon, alloy, bus)


def test_hangup_reloads_the_settings(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("event", source="hup")
    daemon.send(signal.SIGHUP)
    check_takes_effect(daemon, alloy, bus, "hup")


def test_workflow_added_to_the_file_is_polled(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "theirs", workflow="v")
    installation.change("source", workflows=["w", "v"])
    daemon.wait_until(lambda: sent(bus) == ["first", "theirs"])


def test_workflow_removed_from_the_file_is_not_polled(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", workflows=["v"])
    fail(alloy, "theirs", workflow="v")
    daemon.wait_until(lambda: "theirs" in sent(bus))
    fail(alloy, "ours")
    fail(alloy, "again-theirs", workflow="v")
    daemon.wait_until(lambda: "again-theirs" in sent(bus))
    assert "ours" not in sent(bus)


def test_keys_changed_while_running_are_used(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    alloy.api.api_key = "rolled-alloy-key"
    bus.keys = {"AKIAROLLED0000000001": Key("AKIAROLLED0000000001", "rolled+secret")}
    daemon.wait_for_log("401")
    installation.run_command("keys", "set", "alloy-api-key", stdin="rolled-alloy-key\n")
    installation.run_command("keys", "set", "aws-access-key-id", stdin="AKIAROLLED0000000001\n")
    installation.run_command("keys", "set", "aws-secret-access-key", stdin="rolled+secret\n")
    check_continues(daemon, alloy, bus)


def test_rotation_while_running_disturbs_nothing(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    assert installation.run_command("keys", "rotate").code == 0
    alloy.api.api_key = "rolled-alloy-key"
    installation.run_command("keys", "set", "alloy-api-key", stdin="rolled-alloy-key\n")
    check_continues(daemon, alloy, bus)


def test_damaged_vault_is_reported_and_keys_are_kept(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    (installation.directory / "forwarder.keys").write_text("{}")
    daemon.wait_for_log("error", "forwarder.keys")
    check_continues(daemon, alloy, bus)
    assert not [secret for secret in (API_KEY, KEY.secret) if secret in daemon.log]
