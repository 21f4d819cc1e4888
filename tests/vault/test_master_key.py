"""Where the master key comes from."""

import base64
from pathlib import Path

import pytest

from forwarder.errors import VaultError
from forwarder.vault import master_key
from tests.vault.vault_folder import SECRETS, VaultFolder, filled_vault_folder


def test_a_new_key_is_one_base64_line_of_32_bytes() -> None:
    text = master_key.generate()
    assert (len(base64.b64decode(text, validate=False)), text.count("\n"), text[-1]) == (32, 1, "\n")
    assert text != master_key.generate()


def test_the_credential_goes_before_the_file_and_the_file_before_the_variable(tmp_path: Path) -> None:
    texts = [master_key.generate() for _ in range(3)]
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    home = VaultFolder(tmp_path, {"CREDENTIALS_DIRECTORY": str(credentials), "FORWARDER_MASTER_KEY": texts[2]})

    def found() -> str:
        return base64.b64encode(master_key.find_master_keys(home.config_source, home.settings)[0].key).decode() + "\n"

    assert found() == texts[2]
    home.key_file.touch(0o600)
    home.key_file.write_text(texts[1])
    assert found() == texts[1]
    (credentials / master_key.CREDENTIAL).touch(0o400)
    (credentials / master_key.CREDENTIAL).write_text(texts[0])
    assert found() == texts[0]


def test_without_a_key_nothing_opens(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="no master key") as raised:
        VaultFolder(tmp_path).open()
    assert "forwarder init" in raised.value.hint


@pytest.mark.parametrize("text", ["", "short", "x" * 44, base64.b64encode(bytes(31)).decode(), "ü", "a b", "A" * 45])
def test_what_is_no_key_is_refused_without_repeating_it(tmp_path: Path, text: str) -> None:
    home = VaultFolder(tmp_path)
    home.key_file.touch(0o600)
    home.key_file.write_text(text)
    with pytest.raises(VaultError) as raised:
        home.open()
    assert len(text) < 5 or text not in str(raised.value)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "  \n"])
def test_white_space_around_a_key_is_no_part_of_it(tmp_path: Path, ending: str) -> None:
    home = filled_vault_folder(tmp_path)
    home.key_file.write_text(home.key_file.read_text().strip() + ending)
    assert home.secret_values() == SECRETS


def test_a_broken_file_is_never_replaced_by_the_variable(tmp_path: Path) -> None:
    home = VaultFolder(tmp_path, {"FORWARDER_MASTER_KEY": master_key.generate()})
    home.key_file.touch(0o600)
    home.key_file.write_text("broken")
    with pytest.raises(VaultError):
        home.open()


def test_the_id_of_a_key_names_it_and_does_not_tell_it() -> None:
    ids = {master_key.MasterKey(bytes([number]) * 32, "test").id for number in range(20)}
    assert len(ids) == 20
    assert all(len(each) == 16 for each in ids)
