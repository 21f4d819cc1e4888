"""Secrets come out as they were put in, or not at all."""

import base64
import json
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.errors import VaultError
from forwarder.vault import ALLOY_API_KEY, AWS_SESSION_TOKEN, NAMES, master_key
from forwarder.vault.secret_values import MAX_SECRET_CHARACTERS
from tests.factories import examples
from tests.vault.vault_folder import SECRETS, VaultFolder, filled_vault_folder
from tests.virtual_clock import NOON

FLIPS = st.integers(1, 255)


@pytest.fixture
def home(tmp_path: Path) -> VaultFolder:
    return filled_vault_folder(tmp_path)


def test_what_was_set_comes_out_and_its_date(home: VaultFolder) -> None:
    assert home.secret_values() == SECRETS
    vault = home.open()
    assert [vault.set_at(name) for name in (ALLOY_API_KEY, AWS_SESSION_TOKEN)] == [NOON, None]
    assert vault.reveal(AWS_SESSION_TOKEN) is None


def test_required_secret_is_returned_or_named_with_its_command(home: VaultFolder) -> None:
    vault = home.open()
    assert vault.require(ALLOY_API_KEY) == vault.reveal(ALLOY_API_KEY)
    vault.remove(ALLOY_API_KEY)
    with pytest.raises(VaultError) as caught:
        vault.require(ALLOY_API_KEY)
    assert (caught.value.message, caught.value.hint) == (
        "the vault holds no alloy-api-key",
        "`forwarder keys set alloy-api-key`",
    )


def test_a_value_can_be_set_again_and_removed(home: VaultFolder) -> None:
    vault = home.open()
    vault.set(ALLOY_API_KEY, "another", NOON + timedelta(days=1))
    assert home.secret_values() == {**SECRETS, ALLOY_API_KEY: "another"}
    assert vault.remove(ALLOY_API_KEY)
    assert not vault.remove(ALLOY_API_KEY)
    assert ALLOY_API_KEY not in home.secret_values()


def test_a_vault_that_was_never_written_is_empty_and_makes_no_file(tmp_path: Path) -> None:
    home = VaultFolder(tmp_path)
    home.make_key()
    assert home.secret_values() == {}
    assert not home.vault_file.exists()


def test_the_file_holds_no_secret_and_is_for_its_owner_alone(home: VaultFolder) -> None:
    assert home.vault_file.stat().st_mode & 0o077 == 0
    content = home.vault_file.read_bytes()
    for secret in SECRETS.values():
        assert secret.encode() not in content
        assert base64.b64encode(secret.encode()).rstrip(b"=")[:12] not in content


def test_the_same_secret_is_sealed_differently_each_time(home: VaultFolder) -> None:
    first = home.vault_file.read_bytes()
    home.open().set(ALLOY_API_KEY, SECRETS[ALLOY_API_KEY], NOON)
    assert home.vault_file.read_bytes() != first


@given(st.sampled_from(sorted(SECRETS)), st.integers(0, 10_000), FLIPS)
@examples(80)
def test_a_changed_byte_of_any_box_opens_nothing(name: str, at: int, flip: int) -> None:
    with TemporaryDirectory() as folder:
        home = filled_vault_folder(Path(folder))
        content = json.loads(home.vault_file.read_bytes())
        box = bytearray(base64.b64decode(content["secrets"][name]["sealed"]))
        box[at % len(box)] ^= flip
        content["secrets"][name]["sealed"] = base64.b64encode(box).decode()
        home.vault_file.write_text(json.dumps(content))
        with pytest.raises(VaultError) as raised:
            home.open()
        assert_secretless(raised.value)
        assert raised.value.hint


@given(st.integers(0, 100_000), FLIPS)
@examples(120)
def test_a_changed_byte_anywhere_gives_an_error_or_the_true_secrets(at: int, flip: int) -> None:
    with TemporaryDirectory() as folder:
        home = filled_vault_folder(Path(folder))
        content = bytearray(home.vault_file.read_bytes())
        content[at % len(content)] ^= flip
        home.vault_file.write_bytes(content)
        try:
            secret_values = home.secret_values()
        except VaultError as error:
            assert_secretless(error)
        else:
            assert secret_values.items() <= SECRETS.items()


def swapped(content: dict[str, Any], part: str) -> None:
    one, other = content["secrets"]["alloy-api-key"], content["secrets"]["aws-access-key-id"]
    one[part], other[part] = other[part], one[part]


def dated(content: dict[str, Any]) -> None:
    content["secrets"]["alloy-api-key"]["set_at"] = "2026-11-03T12:00:00Z"


def renamed(content: dict[str, Any]) -> None:
    content["secrets"]["aws-session-token"] = content["secrets"].pop("alloy-api-key")


def emptied(content: dict[str, Any]) -> None:
    content["secrets"]["alloy-api-key"]["sealed"] = ""


def not_base64(content: dict[str, Any]) -> None:
    content["secrets"]["alloy-api-key"]["sealed"] = "ü" + content["secrets"]["alloy-api-key"]["sealed"]


def cut_box(content: dict[str, Any]) -> None:
    content["secrets"]["alloy-api-key"]["sealed"] = content["secrets"]["alloy-api-key"]["sealed"][:16]


@pytest.mark.parametrize(
    "tamper", [lambda content: swapped(content, "sealed"), dated, renamed, emptied, not_base64, cut_box]
)
def test_values_names_and_dates_belong_together(home: VaultFolder, tamper: Any) -> None:
    content = json.loads(home.vault_file.read_bytes())
    tamper(content)
    home.vault_file.write_text(json.dumps(content))
    with pytest.raises(VaultError, match="does not open"):
        home.open()


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"null", b"[]", b"\xff", b"[" * 5000, b'{"format": 1}', b'{"forwarder_vault": 1}', b"not json"],
)
def test_a_damaged_file_is_told(home: VaultFolder, content: bytes) -> None:
    home.vault_file.write_bytes(content)
    with pytest.raises(VaultError, match="damaged") as raised:
        home.open()
    assert raised.value.hint


def test_a_file_of_a_newer_format_is_refused(home: VaultFolder) -> None:
    content = json.loads(home.vault_file.read_bytes())
    home.vault_file.write_text(json.dumps({**content, "forwarder_vault": 2}))
    with pytest.raises(VaultError, match="newer forwarder"):
        home.open()


def test_a_wrong_master_key_opens_nothing(home: VaultFolder) -> None:
    home.make_key()
    with pytest.raises(VaultError, match="sealed under the master key") as raised:
        home.open()
    assert raised.value.hint


def test_a_wrong_master_key_that_claims_to_be_the_right_one_opens_nothing(home: VaultFolder) -> None:
    home.make_key()
    (key,) = master_key.find_master_keys(home.config_source, home.settings)
    content = json.loads(home.vault_file.read_bytes())
    home.vault_file.write_text(json.dumps({**content, "master_key": key.id}))
    with pytest.raises(VaultError, match="does not open"):
        home.open()


@pytest.mark.parametrize("name", ["forwarder.keys", "forwarder.master-key"])
@pytest.mark.parametrize("mode", [0o604, 0o602, 0o606, 0o644, 0o777])
def test_a_file_that_everybody_may_open_is_refused(home: VaultFolder, name: str, mode: int) -> None:
    (home.folder / name).chmod(mode)
    with pytest.raises(VaultError, match="open to every user") as raised:
        home.open()
    assert "chmod 600" in raised.value.hint


@pytest.mark.parametrize("name", ["forwarder.keys", "forwarder.master-key"])
def test_a_file_that_its_group_may_open_is_warned_about(home: VaultFolder, name: str) -> None:
    assert home.open().warnings() == []
    (home.folder / name).chmod(0o640)
    (warning,) = home.open().warnings()
    assert name in warning


@pytest.mark.parametrize(
    "value", ["", "with space", "two\nlines", "tab\t", "ümlaut", "x\x00", "k" * (MAX_SECRET_CHARACTERS + 1)]
)
def test_what_can_be_no_key_is_refused_without_repeating_it(home: VaultFolder, value: str) -> None:
    with pytest.raises(VaultError) as raised:
        home.open().set(ALLOY_API_KEY, value, NOON)
    assert not value or value not in str(raised.value)
    assert home.secret_values() == SECRETS


def test_a_name_that_is_none_is_refused_with_those_there_are(home: VaultFolder) -> None:
    with pytest.raises(VaultError) as raised:
        home.open().set("alloy-key", "x", NOON)
    assert all(name in str(raised.value) for name in NAMES)


def assert_secretless(*things: object) -> None:
    shown = " ".join(f"{thing} {thing!r}" for thing in things)
    assert [secret for secret in SECRETS.values() if secret in shown] == []


def test_nothing_shows_a_secret_or_a_master_key(home: VaultFolder) -> None:
    vault = home.open()
    keys = master_key.find_master_keys(home.config_source, home.settings)
    assert_secretless(vault, vars(vault), vault.key, keys, *(vault.reveal(name) for name in SECRETS))
    text = home.key_file.read_text().strip()
    shown = f"{vault.key!r} {keys!r} {vars(vault)!r}"
    assert text not in shown
    assert repr(base64.b64decode(text)) not in shown
    assert base64.b64decode(text).hex()[:16] not in shown


def test_a_credential_that_its_group_may_open_is_not_warned_about(tmp_path: Path) -> None:
    """systemd hands it over with an access list, and Kubernetes with a group of the pod's: both look like this."""
    home = filled_vault_folder(tmp_path)
    handed = tmp_path / "credentials"
    handed.mkdir()
    (handed / master_key.CREDENTIAL).write_bytes(home.key_file.read_bytes())
    (handed / master_key.CREDENTIAL).chmod(0o440)
    assert VaultFolder(tmp_path, {"CREDENTIALS_DIRECTORY": str(handed)}).open().warnings() == []


def test_a_vault_before_0_2_is_refused_as_foreign(home: VaultFolder) -> None:
    content = {"format": 1, "master_key": home.open().key.id, "sealed": {}}
    home.vault_file.write_text(json.dumps(content))
    home.vault_file.chmod(0o600)
    with pytest.raises(VaultError, match="is not a vault of this version") as raised:
        home.open()
    assert "set the keys again" in raised.value.hint
    assert json.loads(home.vault_file.read_text()) == content
