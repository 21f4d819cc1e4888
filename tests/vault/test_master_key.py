"""The sources of the master key, and the checks of its value."""

import base64
from pathlib import Path

import pytest

from forwarder.errors import VaultError
from forwarder.vault import master_key
from tests.vault.vault_folder import SECRETS, VaultFolder, filled_vault_folder


def test_generated_key_is_one_base64_line_of_32_bytes() -> None:
    text = master_key.generate()
    assert (len(base64.b64decode(text, validate=False)), text.count("\n"), text[-1]) == (32, 1, "\n")
    assert text != master_key.generate()


def test_key_sources_are_credential_file_variable_in_order(tmp_path: Path) -> None:
    texts = [master_key.generate() for _ in range(3)]
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    vault_folder = VaultFolder(tmp_path, {"CREDENTIALS_DIRECTORY": str(credentials), "FORWARDER_MASTER_KEY": texts[2]})

    def found() -> str:
        return (
            base64.b64encode(
                master_key.find_master_keys(vault_folder.config_source, vault_folder.settings)[0].key
            ).decode()
            + "\n"
        )

    assert found() == texts[2]
    vault_folder.key_file.touch(0o600)
    vault_folder.key_file.write_text(texts[1])
    assert found() == texts[1]
    (credentials / master_key.CREDENTIAL).touch(0o400)
    (credentials / master_key.CREDENTIAL).write_text(texts[0])
    assert found() == texts[0]


def test_missing_key_is_refused_with_hint(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="no master key") as raised:
        VaultFolder(tmp_path).open()
    assert "forwarder init" in raised.value.hint


@pytest.mark.parametrize("text", ["", "short", "x" * 44, base64.b64encode(bytes(31)).decode(), "ü", "a b", "A" * 45])
def test_invalid_key_is_refused_and_not_printed(tmp_path: Path, text: str) -> None:
    vault_folder = VaultFolder(tmp_path)
    vault_folder.key_file.touch(0o600)
    vault_folder.key_file.write_text(text)
    with pytest.raises(VaultError) as raised:
        vault_folder.open()
    assert len(text) < 5 or text not in str(raised.value)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "  \n"])
def test_white_space_around_a_key_is_ignored(tmp_path: Path, ending: str) -> None:
    vault_folder = filled_vault_folder(tmp_path)
    vault_folder.key_file.write_text(vault_folder.key_file.read_text().strip() + ending)
    assert vault_folder.secret_values() == SECRETS


def test_invalid_file_is_never_replaced_by_the_variable(tmp_path: Path) -> None:
    vault_folder = VaultFolder(tmp_path, {"FORWARDER_MASTER_KEY": master_key.generate()})
    vault_folder.key_file.touch(0o600)
    vault_folder.key_file.write_text("broken")
    with pytest.raises(VaultError):
        vault_folder.open()


def test_key_id_is_unique_and_short() -> None:
    """An id of 16 characters does not reveal the key."""
    ids = {master_key.MasterKey(bytes([number]) * 32, "test").id for number in range(20)}
    assert len(ids) == 20
    assert all(len(each) == 16 for each in ids)
