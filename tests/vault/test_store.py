"""The vault returns secrets exactly as they were set, or raises an error."""

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
def vault_folder(tmp_path: Path) -> VaultFolder:
    return filled_vault_folder(tmp_path)


def test_vault_returns_secrets_and_their_dates(vault_folder: VaultFolder) -> None:
    assert vault_folder.secret_values() == SECRETS
    vault = vault_folder.open()
    assert [vault.set_at(name) for name in (ALLOY_API_KEY, AWS_SESSION_TOKEN)] == [NOON, None]
    assert vault.reveal(AWS_SESSION_TOKEN) is None


def test_required_secret_is_returned_or_named_with_its_command(vault_folder: VaultFolder) -> None:
    vault = vault_folder.open()
    assert vault.require(ALLOY_API_KEY) == vault.reveal(ALLOY_API_KEY)
    vault.remove(ALLOY_API_KEY)
    with pytest.raises(VaultError) as caught:
        vault.require(ALLOY_API_KEY)
    assert (caught.value.message, caught.value.hint) == (
        "the vault holds no alloy-api-key",
        "`forwarder keys set alloy-api-key`",
    )


def test_secret_can_be_replaced_and_removed(vault_folder: VaultFolder) -> None:
    vault = vault_folder.open()
    vault.set(ALLOY_API_KEY, "another", NOON + timedelta(days=1))
    assert vault_folder.secret_values() == {**SECRETS, ALLOY_API_KEY: "another"}
    assert vault.remove(ALLOY_API_KEY)
    assert not vault.remove(ALLOY_API_KEY)
    assert ALLOY_API_KEY not in vault_folder.secret_values()


def test_new_vault_is_empty_and_creates_no_file(tmp_path: Path) -> None:
    vault_folder = VaultFolder(tmp_path)
    vault_folder.make_key()
    assert vault_folder.secret_values() == {}
    assert not vault_folder.vault_file.exists()


def test_vault_file_contains_no_secret_and_is_private(vault_folder: VaultFolder) -> None:
    assert vault_folder.vault_file.stat().st_mode & 0o077 == 0
    content = vault_folder.vault_file.read_bytes()
    for secret in SECRETS.values():
        assert secret.encode() not in content
        assert base64.b64encode(secret.encode()).rstrip(b"=")[:12] not in content


def test_same_secret_is_sealed_differently_each_time(vault_folder: VaultFolder) -> None:
    first = vault_folder.vault_file.read_bytes()
    vault_folder.open().set(ALLOY_API_KEY, SECRETS[ALLOY_API_KEY], NOON)
    assert vault_folder.vault_file.read_bytes() != first


@given(st.sampled_from(sorted(SECRETS)), st.integers(0, 10_000), FLIPS)
@examples(80)
def test_changed_byte_of_a_sealed_secret_is_refused(name: str, at: int, flip: int) -> None:
    with TemporaryDirectory() as folder:
        vault_folder = filled_vault_folder(Path(folder))
        content = json.loads(vault_folder.vault_file.read_bytes())
        sealed = bytearray(base64.b64decode(content["secrets"][name]["sealed"]))
        sealed[at % len(sealed)] ^= flip
        content["secrets"][name]["sealed"] = base64.b64encode(sealed).decode()
        vault_folder.vault_file.write_text(json.dumps(content))
        with pytest.raises(VaultError) as raised:
            vault_folder.open()
        assert_contains_no_secret(raised.value)
        assert raised.value.hint


@given(st.integers(0, 100_000), FLIPS)
@examples(120)
def test_changed_byte_gives_an_error_or_the_true_secrets(at: int, flip: int) -> None:
    with TemporaryDirectory() as folder:
        vault_folder = filled_vault_folder(Path(folder))
        content = bytearray(vault_folder.vault_file.read_bytes())
        content[at % len(content)] ^= flip
        vault_folder.vault_file.write_bytes(content)
        try:
            secret_values = vault_folder.secret_values()
        except VaultError as error:
            assert_contains_no_secret(error)
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


def truncated(content: dict[str, Any]) -> None:
    content["secrets"]["alloy-api-key"]["sealed"] = content["secrets"]["alloy-api-key"]["sealed"][:16]


@pytest.mark.parametrize(
    "tamper", [lambda content: swapped(content, "sealed"), dated, renamed, emptied, not_base64, truncated]
)
def test_exchanged_value_name_or_date_is_refused(vault_folder: VaultFolder, tamper: Any) -> None:
    content = json.loads(vault_folder.vault_file.read_bytes())
    tamper(content)
    vault_folder.vault_file.write_text(json.dumps(content))
    with pytest.raises(VaultError, match="cannot be decrypted"):
        vault_folder.open()


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"null", b"[]", b"\xff", b"[" * 5000, b'{"format": 1}', b'{"forwarder_vault": 1}', b"not json"],
)
def test_damaged_file_is_refused_with_hint(vault_folder: VaultFolder, content: bytes) -> None:
    vault_folder.vault_file.write_bytes(content)
    with pytest.raises(VaultError, match="damaged") as raised:
        vault_folder.open()
    assert raised.value.hint


def test_file_of_a_newer_format_is_refused(vault_folder: VaultFolder) -> None:
    content = json.loads(vault_folder.vault_file.read_bytes())
    vault_folder.vault_file.write_text(json.dumps({**content, "forwarder_vault": 2}))
    with pytest.raises(VaultError, match="newer forwarder"):
        vault_folder.open()


def test_wrong_master_key_is_refused_with_hint(vault_folder: VaultFolder) -> None:
    vault_folder.make_key()
    with pytest.raises(VaultError, match="sealed under the master key") as raised:
        vault_folder.open()
    assert raised.value.hint


def test_wrong_master_key_with_matching_id_is_refused(vault_folder: VaultFolder) -> None:
    vault_folder.make_key()
    (key,) = master_key.find_master_keys(vault_folder.config_source, vault_folder.settings)
    content = json.loads(vault_folder.vault_file.read_bytes())
    vault_folder.vault_file.write_text(json.dumps({**content, "master_key": key.id}))
    with pytest.raises(VaultError, match="cannot be decrypted"):
        vault_folder.open()


@pytest.mark.parametrize("name", ["forwarder.keys", "forwarder.master-key"])
@pytest.mark.parametrize("mode", [0o604, 0o602, 0o606, 0o644, 0o777])
def test_file_readable_by_everyone_is_refused(vault_folder: VaultFolder, name: str, mode: int) -> None:
    (vault_folder.folder / name).chmod(mode)
    with pytest.raises(VaultError, match="open to every user") as raised:
        vault_folder.open()
    assert "chmod 600" in raised.value.hint


@pytest.mark.parametrize("name", ["forwarder.keys", "forwarder.master-key"])
def test_file_readable_by_its_group_causes_a_warning(vault_folder: VaultFolder, name: str) -> None:
    assert vault_folder.open().warnings() == []
    (vault_folder.folder / name).chmod(0o640)
    (warning,) = vault_folder.open().warnings()
    assert name in warning


@pytest.mark.parametrize(
    "value", ["", "with space", "two\nlines", "tab\t", "ümlaut", "x\x00", "k" * (MAX_SECRET_CHARACTERS + 1)]
)
def test_impossible_secret_is_refused_and_not_printed(vault_folder: VaultFolder, value: str) -> None:
    with pytest.raises(VaultError) as raised:
        vault_folder.open().set(ALLOY_API_KEY, value, NOON)
    assert not value or value not in str(raised.value)
    assert vault_folder.secret_values() == SECRETS


def test_unknown_name_is_refused_with_the_known_names(vault_folder: VaultFolder) -> None:
    with pytest.raises(VaultError) as raised:
        vault_folder.open().set("alloy-key", "x", NOON)
    assert all(name in str(raised.value) for name in NAMES)


def assert_contains_no_secret(*objects: object) -> None:
    displayed = " ".join(f"{each} {each!r}" for each in objects)
    assert [secret for secret in SECRETS.values() if secret in displayed] == []


def test_representations_contain_no_secret_or_master_key(vault_folder: VaultFolder) -> None:
    vault = vault_folder.open()
    keys = master_key.find_master_keys(vault_folder.config_source, vault_folder.settings)
    assert_contains_no_secret(vault, vars(vault), vault.key, keys, *(vault.reveal(name) for name in SECRETS))
    text = vault_folder.key_file.read_text().strip()
    displayed = f"{vault.key!r} {keys!r} {vars(vault)!r}"
    assert text not in displayed
    assert repr(base64.b64decode(text)) not in displayed
    assert base64.b64decode(text).hex()[:16] not in displayed


def test_credential_readable_by_its_group_causes_no_warning(tmp_path: Path) -> None:
    """systemd passes it with an access list, Kubernetes with the group of the pod. Both look like this mode."""
    vault_folder = filled_vault_folder(tmp_path)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / master_key.CREDENTIAL).write_bytes(vault_folder.key_file.read_bytes())
    (credentials / master_key.CREDENTIAL).chmod(0o440)
    assert VaultFolder(tmp_path, {"CREDENTIALS_DIRECTORY": str(credentials)}).open().warnings() == []


def test_vault_before_0_2_is_refused_as_foreign(vault_folder: VaultFolder) -> None:
    content = {"format": 1, "master_key": vault_folder.open().key.id, "sealed": {}}
    vault_folder.vault_file.write_text(json.dumps(content))
    vault_folder.vault_file.chmod(0o600)
    with pytest.raises(VaultError, match="is not a vault of this version") as raised:
        vault_folder.open()
    assert "set the keys again" in raised.value.hint
    assert json.loads(vault_folder.vault_file.read_text()) == content
