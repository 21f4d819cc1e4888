"""`keys`: secrets are read from stdin and are never printed."""

from __future__ import annotations

import json
import stat

import pytest

from tests.e2e.harness import fail, sent
from tests.e2e.terminal import run_at_terminal
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import KEY, StrictEventBridge
from tests.harness.installation import Installation

pytestmark = pytest.mark.long

NAMES = ("alloy-api-key", "aws-access-key-id", "aws-secret-access-key", "aws-session-token")


def stored_keys(installation: Installation) -> dict[str, dict[str, object]]:
    return {key["name"]: key for key in installation.run_command("keys", "show", "--json").json()}


def test_show_has_only_the_last_four_characters(installation: Installation) -> None:
    done = installation.run_command("keys", "show")
    assert "0001" in done.out
    for secret in (API_KEY, KEY.id, KEY.secret):
        assert secret not in done.output


def test_show_lists_each_name_with_its_state(installation: Installation) -> None:
    keys = stored_keys(installation)
    assert tuple(keys) == NAMES
    assert [keys[name]["set"] for name in NAMES] == [True, True, True, False]


def test_show_as_json_has_only_the_last_four_characters(installation: Installation) -> None:
    done = installation.run_command("keys", "show", "--json")
    assert {API_KEY[-4:], KEY.secret[-4:]} <= {str(key["ends_with"]) for key in done.json()}
    assert not [secret for secret in (API_KEY, KEY.id, KEY.secret) if secret in done.output]


def test_show_of_a_short_secret_has_no_characters(installation: Installation) -> None:
    installation.run_command("keys", "set", "aws-session-token", stdin="abcd\n")
    assert "abcd" not in installation.run_command("keys", "show").output


def test_set_does_not_repeat_the_secret(installation: Installation) -> None:
    done = installation.run_command("keys", "set", "alloy-api-key", stdin="another-planted-secret\n")
    assert done.code == 0
    assert "another-planted-secret" not in done.output


def test_set_at_the_prompt_does_not_echo(installation: Installation) -> None:
    result = run_at_terminal(
        installation, "keys", "set", "aws-session-token", prompt=": ", answer="typed-planted-secret\n"
    )
    assert result.code == 0, result
    assert "aws-session-token" in result.screen
    assert "typed-planted-secret" not in result.screen
    assert stored_keys(installation)["aws-session-token"]["ends_with"] == "cret"


def test_set_refuses_the_secret_as_an_argument(installation: Installation) -> None:
    done = installation.run_command("keys", "set", "alloy-api-key", "in-everyones-ps")
    assert done.code == 2


def test_set_refuses_an_empty_secret(installation: Installation) -> None:
    before = (installation.directory / "forwarder.keys").read_bytes()
    assert installation.run_command("keys", "set", "alloy-api-key", stdin="\n").code != 0
    assert (installation.directory / "forwarder.keys").read_bytes() == before


def test_set_knows_only_its_four_names(installation: Installation) -> None:
    done = installation.run_command("keys", "set", "aws-api-key", stdin="x\n")
    assert done.code == 2
    assert "aws-access-key-id" in done.err


def test_vault_file_is_private_and_contains_no_secret(installation: Installation) -> None:
    vault = installation.directory / "forwarder.keys"
    installation.run_command("keys", "set", "aws-session-token", stdin="a-planted-session-token\n")
    assert stat.S_IMODE(vault.stat().st_mode) == 0o600
    content = vault.read_bytes()
    assert not [s for s in (API_KEY, KEY.id, KEY.secret, "a-planted-session-token") if s.encode() in content]


def test_removed_secret_is_not_set(installation: Installation) -> None:
    assert installation.run_command("keys", "remove", "aws-secret-access-key").code == 0
    assert stored_keys(installation)["aws-secret-access-key"]["set"] is False


def test_start_without_the_alloy_key_fails(installation: Installation) -> None:
    installation.run_command("keys", "remove", "alloy-api-key")
    done = installation.run_command("once")
    assert done.code == 78
    assert "keys set alloy-api-key" in done.err


def test_rotation_replaces_master_key_and_keeps_secrets(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """Every sealed value changes."""
    master, vault = installation.directory / "forwarder.master-key", installation.directory / "forwarder.keys"
    before = master.read_bytes(), vault.read_bytes()
    assert installation.run_command("keys", "rotate").code == 0
    assert master.read_bytes() != before[0]
    assert vault.read_bytes() != before[1]
    assert stat.S_IMODE(master.stat().st_mode) == 0o600
    fail(alloy, "a")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["a"]


def test_rotation_leaves_no_copy_of_a_key(installation: Installation) -> None:
    before = {path.name for path in installation.directory.iterdir()}
    installation.run_command("keys", "rotate")
    assert {path.name for path in installation.directory.iterdir()} == before


def test_crash_during_rotation_leaves_a_readable_vault(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """A crash leaves the new key without its final name, with the new vault or with the old one."""
    master, vault = installation.directory / "forwarder.master-key", installation.directory / "forwarder.keys"
    old_vault, old_key = vault.read_bytes(), master.read_bytes()
    installation.run_command("keys", "rotate")
    new_key = master.read_bytes()
    master.write_bytes(old_key)
    spare = installation.directory / "forwarder.master-key.new"
    spare.write_bytes(new_key)
    spare.chmod(0o600)
    fail(alloy, "a")
    assert installation.run_command("once").code == 0, "the vault is new, the key not renamed yet"
    vault.write_bytes(old_vault)
    fail(alloy, "b")
    assert installation.run_command("once").code == 0, "only the new key was written"
    assert sent(bus) == ["a", "b"]


def test_rotation_of_a_key_from_the_environment_is_refused(installation: Installation) -> None:
    master = installation.directory / "forwarder.master-key"
    installation.env["FORWARDER_MASTER_KEY"] = master.read_text().strip()
    master.unlink()
    before = (installation.directory / "forwarder.keys").read_bytes()
    done = installation.run_command("keys", "rotate")
    assert done.code != 0
    assert "FORWARDER_MASTER_KEY" in done.err
    assert (installation.directory / "forwarder.keys").read_bytes() == before


@pytest.mark.parametrize("source", ["environment", "credentials directory"])
def test_master_key_from_each_supported_source_works(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, source: str
) -> None:
    master = installation.directory / "forwarder.master-key"
    if source == "environment":
        installation.env["FORWARDER_MASTER_KEY"] = master.read_text().strip()
        master.unlink()
    else:
        (installation.directory / "credentials").mkdir()
        master.rename(installation.directory / "credentials" / "forwarder-master-key")
        installation.env["CREDENTIALS_DIRECTORY"] = str(installation.directory / "credentials")
    fail(alloy, "a")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["a"]


def test_log_and_ledger_contain_no_key(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    done = installation.run_command("once")
    output = json.dumps(done.output) + installation.run_command("status", "--json").output
    held = b"".join(path.read_bytes() for path in installation.directory.glob("forwarder.db*"))
    for secret in (API_KEY, KEY.id, KEY.secret):
        assert secret not in output
        assert secret.encode() not in held
