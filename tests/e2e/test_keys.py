"""`keys`: secrets go in over stdin, and never come out again."""

from __future__ import annotations

import json
import stat

import pytest

from tests.e2e.harness import Home, fail, sent
from tests.e2e.terminal import run_at_terminal
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import KEY, StrictEventBridge

pytestmark = pytest.mark.long

NAMES = ("alloy-api-key", "aws-access-key-id", "aws-secret-access-key", "aws-session-token")


def shown(home: Home) -> dict[str, dict[str, object]]:
    return {key["name"]: key for key in home("keys", "show", "--json").json()}


def test_show_tells_the_last_four_characters_and_never_the_value(home: Home) -> None:
    done = home("keys", "show")
    assert "0001" in done.out
    for secret in (API_KEY, KEY.id, KEY.secret):
        assert secret not in done.output


def test_show_lists_each_name_and_whether_it_is_set(home: Home) -> None:
    keys = shown(home)
    assert tuple(keys) == NAMES
    assert [keys[name]["set"] for name in NAMES] == [True, True, True, False]


def test_show_as_json_holds_no_value_either(home: Home) -> None:
    done = home("keys", "show", "--json")
    assert {API_KEY[-4:], KEY.secret[-4:]} <= {str(key["ends_with"]) for key in done.json()}
    assert not [secret for secret in (API_KEY, KEY.id, KEY.secret) if secret in done.output]


def test_a_secret_too_short_to_mask_is_not_shown_at_all(home: Home) -> None:
    home("keys", "set", "aws-session-token", stdin="abcd\n")
    assert "abcd" not in home("keys", "show").output


def test_set_does_not_repeat_the_secret(home: Home) -> None:
    done = home("keys", "set", "alloy-api-key", stdin="another-planted-secret\n")
    assert done.code == 0
    assert "another-planted-secret" not in done.output


def test_a_secret_typed_at_the_prompt_is_not_echoed(home: Home) -> None:
    result = run_at_terminal(home, "keys", "set", "aws-session-token", prompt=": ", answer="typed-planted-secret\n")
    assert result.code == 0, result
    assert "aws-session-token" in result.screen
    assert "typed-planted-secret" not in result.screen
    assert shown(home)["aws-session-token"]["ends_with"] == "cret"


def test_set_refuses_the_secret_as_an_argument(home: Home) -> None:
    done = home("keys", "set", "alloy-api-key", "in-everyones-ps")
    assert done.code == 2


def test_set_refuses_an_empty_secret(home: Home) -> None:
    before = (home.place / "forwarder.keys").read_bytes()
    assert home("keys", "set", "alloy-api-key", stdin="\n").code != 0
    assert (home.place / "forwarder.keys").read_bytes() == before


def test_set_knows_only_its_four_names(home: Home) -> None:
    done = home("keys", "set", "aws-api-key", stdin="x\n")
    assert done.code == 2
    assert "aws-access-key-id" in done.err


def test_the_vault_file_is_private_and_holds_no_secret(home: Home) -> None:
    vault = home.place / "forwarder.keys"
    home("keys", "set", "aws-session-token", stdin="a-planted-session-token\n")
    assert stat.S_IMODE(vault.stat().st_mode) == 0o600
    content = vault.read_bytes()
    assert not [s for s in (API_KEY, KEY.id, KEY.secret, "a-planted-session-token") if s.encode() in content]


def test_a_removed_secret_is_gone(home: Home) -> None:
    assert home("keys", "remove", "aws-secret-access-key").code == 0
    assert shown(home)["aws-secret-access-key"]["set"] is False


def test_without_the_alloy_key_nothing_starts(home: Home) -> None:
    home("keys", "remove", "alloy-api-key")
    done = home("once")
    assert done.code == 78
    assert "keys set alloy-api-key" in done.err


def test_rotation_changes_the_master_key_and_every_seal_and_no_secret(
    home: Home, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    master, vault = home.place / "forwarder.master-key", home.place / "forwarder.keys"
    before = master.read_bytes(), vault.read_bytes()
    assert home("keys", "rotate").code == 0
    assert master.read_bytes() != before[0]
    assert vault.read_bytes() != before[1]
    assert stat.S_IMODE(master.stat().st_mode) == 0o600
    fail(alloy, "a")
    assert home("once").code == 0
    assert sent(bus) == ["a"]


def test_rotation_leaves_no_spare_key_lying_about(home: Home) -> None:
    before = {path.name for path in home.place.iterdir()}
    home("keys", "rotate")
    assert {path.name for path in home.place.iterdir()} == before


def test_a_rotation_that_crashed_before_the_vault_locks_nobody_out(
    home: Home, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """The new vault without the renamed key and the old one without it are the two states a crash leaves."""
    master, vault = home.place / "forwarder.master-key", home.place / "forwarder.keys"
    old_vault, old_key = vault.read_bytes(), master.read_bytes()
    home("keys", "rotate")
    new_key = master.read_bytes()
    master.write_bytes(old_key)
    spare = home.place / "forwarder.master-key.new"
    spare.write_bytes(new_key)
    spare.chmod(0o600)
    fail(alloy, "a")
    assert home("once").code == 0, "the vault is new, the key not renamed yet"
    vault.write_bytes(old_vault)
    fail(alloy, "b")
    assert home("once").code == 0, "only the new key was written"
    assert sent(bus) == ["a", "b"]


def test_a_master_key_from_the_environment_is_not_rotated_but_explained(home: Home) -> None:
    master = home.place / "forwarder.master-key"
    home.env["FORWARDER_MASTER_KEY"] = master.read_text().strip()
    master.unlink()
    before = (home.place / "forwarder.keys").read_bytes()
    done = home("keys", "rotate")
    assert done.code != 0
    assert "FORWARDER_MASTER_KEY" in done.err
    assert (home.place / "forwarder.keys").read_bytes() == before


@pytest.mark.parametrize("source", ["environment", "credentials directory"])
def test_the_master_key_may_come_from_elsewhere(
    home: Home, alloy: FakeAlloy, bus: StrictEventBridge, source: str
) -> None:
    master = home.place / "forwarder.master-key"
    if source == "environment":
        home.env["FORWARDER_MASTER_KEY"] = master.read_text().strip()
        master.unlink()
    else:
        (home.place / "credentials").mkdir()
        master.rename(home.place / "credentials" / "forwarder-master-key")
        home.env["CREDENTIALS_DIRECTORY"] = str(home.place / "credentials")
    fail(alloy, "a")
    assert home("once").code == 0
    assert sent(bus) == ["a"]


def test_what_the_log_and_the_ledger_hold_has_no_key_in_it(home: Home, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    done = home("once")
    output = json.dumps(done.output) + home("status", "--json").output
    held = b"".join(path.read_bytes() for path in home.place.glob("forwarder.db*"))
    for secret in (API_KEY, KEY.id, KEY.secret):
        assert secret not in output
        assert secret.encode() not in held
