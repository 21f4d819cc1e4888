"""The first start: `run --setup` in an empty folder, until it forwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import fail, sent
from tests.e2e.web_client import http_request, metric, web_address
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import BUS, REGION, StrictEventBridge
from tests.harness.installation import SECRETS, Installation
from tests.harness.ports import free_port
from tests.harness.process import ForwarderProcess

CREATED = {"forwarder.toml", "forwarder.master-key"}


@pytest.fixture
def empty(tmp_path: Path, alloy: FakeAlloy, bus: StrictEventBridge) -> Installation:
    """An empty folder. Variables name the addresses of the fakes, so that nothing else is missing in a set-up."""
    installation = Installation.at(tmp_path)
    installation.env = {
        "FORWARDER_WEB__LISTEN": "127.0.0.1:0",
        "FORWARDER_SOURCE__BASE_URL": alloy.url,
        "FORWARDER_SOURCE__START_FROM": "beginning",
        "FORWARDER_SOURCE__MIN_INTERVAL": "100ms",
        "FORWARDER_DESTINATION__ENDPOINT_URL": bus.url,
    }
    return installation


@pytest.fixture
def daemon(empty: Installation) -> Iterator[ForwarderProcess]:
    """A daemon in an empty folder, without a terminal."""
    with empty.start("--setup") as daemon:
        daemon.wait_for_log("not configured, nothing is forwarded")
        yield daemon


def complete_file(installation: Installation) -> None:
    """Fill in the file that the first start created, as a person does in an editor."""
    text = installation.settings_file.read_text()
    for before, after in (
        ("workflows = []", 'workflows = ["w"]'),
        ('event_bus = ""', f'event_bus = "{BUS}"'),
        ('region = ""', f'region = "{REGION}"'),
    ):
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    installation.write(text)


def set_keys(installation: Installation) -> None:
    for name, value in SECRETS.items():
        assert installation.run_command("keys", "set", name, stdin=value).code == 0


def readiness(page: str) -> tuple[int, dict[str, Any]]:
    status, text = http_request(f"{page}/readyz")
    return status, json.loads(text)


def files(installation: Installation) -> set[str]:
    return {path.name for path in installation.directory.iterdir() if not path.name.startswith("log-")}


def test_setup_in_an_empty_folder_creates_the_files_of_init(empty: Installation, daemon: ForwarderProcess) -> None:
    """The settings file is the one of `init`, and the page is served while nothing is forwarded."""
    page = web_address(daemon)
    assert files(empty) >= CREATED
    created = empty.settings_file.read_text()
    assert http_request(f"{page}/livez")[0] == 200
    status, ready = readiness(page)
    assert (status, ready["components"]["source"], ready["components"]["bus"]) == (503, "UNCONFIGURED", "UNCONFIGURED")
    assert metric(page, "settings_valid") == 0
    assert daemon.stop() == 0
    for name in files(empty):
        (empty.directory / name).unlink()
    assert empty.run_command("init").code == 0
    assert empty.settings_file.read_text() == created


def test_setup_warns_and_names_everything_missing(daemon: ForwarderProcess) -> None:
    daemon.wait_for_log(
        '"level": "warning"', "destination.event_bus", "destination.region", "alloy-api-key", "nothing to watch"
    )


def test_setup_repeats_its_warning(empty: Installation) -> None:
    with empty.start("--setup", module="tests.e2e.hasty_program") as daemon:
        daemon.wait_until(lambda: daemon.log.count('"event": "not configured, nothing is forwarded"') >= 3)


def test_setup_without_a_terminal_names_create_token_only(daemon: ForwarderProcess) -> None:
    daemon.wait_for_log("web UI listening", "forwarder web create-token")
    assert "/setup/" not in daemon.log


@pytest.mark.parametrize("keys_first", [True, False])
def test_setup_completed_in_the_terminal_forwards(
    empty: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge, *, keys_first: bool
) -> None:
    """Forwarding begins with the last missing value, whether it is a setting or a key."""
    fail(alloy, "a")
    steps = [set_keys, complete_file] if keys_first else [complete_file, set_keys]
    steps[0](empty)
    assert not daemon.has_logged("set-up complete")
    steps[1](empty)
    daemon.wait_until(lambda: sent(bus) == ["a"])
    assert daemon.has_logged("set-up complete")
    page = web_address(daemon)
    daemon.wait_until(lambda: readiness(page)[0] == 200)
    assert metric(page, "settings_valid") == 1


def test_setup_once_complete_keeps_the_last_valid_settings(
    empty: Installation, daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """A later edit that removes a required setting does not stop forwarding."""
    set_keys(empty)
    complete_file(empty)
    daemon.wait_for_log("set-up complete")
    empty.write(empty.settings_file.read_text().replace(f'region = "{REGION}"', 'region = ""'))
    daemon.wait_for_log("invalid settings, keeping previous")
    fail(alloy, "b")
    daemon.wait_until(lambda: sent(bus) == ["b"])
    page = web_address(daemon)
    daemon.wait_until(lambda: readiness(page)[0] == 200)


def test_setup_with_complete_settings_only_runs(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    before = files(installation)
    with installation.start("--setup") as daemon:
        daemon.wait_until(lambda: sent(bus) == ["a"])
        assert "UNCONFIGURED" not in daemon.log
    assert {name for name in files(installation) - before if not name.startswith("forwarder.db")} == set()


def test_status_and_health_during_a_setup(empty: Installation) -> None:
    empty.env["FORWARDER_WEB__LISTEN"] = f"127.0.0.1:{free_port()}"
    with empty.start("--setup") as daemon:
        daemon.wait_for_log("web UI listening")
        daemon.wait_until(lambda: empty.run_command("status", "--json").json()["components"])
        report = empty.run_command("status", "--json").json()
        assert {report["components"][name]["state"] for name in ("settings", "source", "bus")} == {"UNCONFIGURED"}
        assert (report["running"], report["live"]) == (True, True)
        assert "event_bus" in report["components"]["settings"]["reason"]
        assert empty.run_command("health").code == 0
        ready = empty.run_command("health", "--ready")
        assert (ready.code, "`forwarder status` shows the reason" in ready.err) == (1, True)


def test_status_check_without_a_vault_names_it_and_exits_1(empty: Installation) -> None:
    """The settings are valid, but nothing is forwarded."""
    empty.run_command("init")
    complete_file(empty)
    with empty.start("--setup") as daemon:
        daemon.wait_until(lambda: empty.run_command("status", "--json").json()["components"])
        done = empty.run_command("status", "--check")
        assert (done.code, "source is UNCONFIGURED" in done.out) == (1, True), done.output
        assert f"there is no vault {empty.keys_file} yet" in done.out
        assert "hint: `forwarder keys set alloy-api-key` creates it" in done.out


@pytest.mark.parametrize("command", ["run", "once"])
def test_incomplete_settings_without_setup_exit_78(empty: Installation, command: str) -> None:
    """The hint names `run --setup`, without a settings file and with the one of `init`."""
    for _ in range(2):
        done = empty.run_command(command)
        assert done.code == 78
        assert "`forwarder run --setup`" in done.err
        assert not empty.ledger_file.exists()
        empty.run_command("init")


def test_missing_key_without_setup_exits_78(empty: Installation) -> None:
    empty.run_command("init")
    complete_file(empty)
    done = empty.run_command("run")
    assert done.code == 78
    assert "alloy-api-key" in done.err
    assert "`forwarder run --setup`" in done.err


@pytest.mark.parametrize("options", [(), ("--setup",)])
def test_incomplete_settings_beside_a_used_ledger_exit_78(
    installation: Installation, alloy: FakeAlloy, options: tuple[str, ...]
) -> None:
    """An edit by mistake is an error: the forwarder that has feeds is not taken for a new one."""
    fail(alloy, "a")
    assert installation.run_command("once").code == 0
    installation.change("destination", region=None)
    done = installation.run_command("run", *options)
    assert done.code == 78
    assert "destination.region is missing" in done.err
    assert "--setup" not in done.err


@pytest.mark.parametrize("lost", ["forwarder.db", "forwarder.keys"])
def test_setup_beside_a_ledger_or_vault_creates_nothing(installation: Installation, lost: str) -> None:
    """A settings file that is missing beside a ledger or a vault was lost, or another one was meant."""
    installation.settings_file.unlink()
    if lost == "forwarder.db":
        installation.ledger_file.write_bytes(b"")
        installation.keys_file.unlink()
    before = files(installation)
    for options in ((), ("--setup",)):
        done = installation.run_command("run", *options)
        assert done.code == 78
        assert files(installation) == before
    assert str(installation.directory / lost) in done.err
    assert "run --setup" not in installation.run_command("run").err


@pytest.mark.parametrize("problem", ["syntax", "vault", "master key"])
def test_setup_with_damaged_files_exits_78(empty: Installation, problem: str) -> None:
    empty.run_command("init")
    match problem:
        case "syntax":
            empty.write("enabled = [\n")
        case "vault":
            empty.keys_file.write_text("{}")
        case _:
            empty.master_key_file.unlink()
    done = empty.run_command("run", "--setup")
    assert done.code == 78
    assert "Traceback" not in done.output
    assert not empty.ledger_file.exists()


def test_setup_after_an_interrupted_setup_continues(empty: Installation) -> None:
    for _ in range(2):
        with empty.start("--setup") as daemon:
            daemon.wait_for_log("not configured, nothing is forwarded")
            daemon.kill()
