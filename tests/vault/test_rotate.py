"""The rotation of the master key: the vault can be opened after every step."""

from pathlib import Path

import pytest

from forwarder.errors import VaultError
from forwarder.vault import ALLOY_API_KEY, Vault, master_key
from forwarder.vault.master_key import new_key_file
from forwarder.vault.rotate import rotate
from tests.disk_faults import no_file_larger_than
from tests.vault.vault_folder import SECRETS, VaultFolder, filled_vault_folder
from tests.virtual_clock import NOON


@pytest.fixture
def vault_folder(tmp_path: Path) -> VaultFolder:
    return filled_vault_folder(tmp_path)


class RotationSteps:
    """The files before and after a rotation. `write` puts any state in between on the disk."""

    def __init__(self, vault_folder: VaultFolder) -> None:
        self.vault_folder = vault_folder
        self.old_key, self.old_vault = vault_folder.key_file.read_bytes(), vault_folder.vault_file.read_bytes()
        rotate(vault_folder.config_source, vault_folder.settings)
        self.new_key, self.new_vault = vault_folder.key_file.read_bytes(), vault_folder.vault_file.read_bytes()

    def write(self, *, key: bytes, new: bytes | None, vault: bytes) -> None:
        self.vault_folder.key_file.write_bytes(key)
        self.vault_folder.vault_file.write_bytes(vault)
        new_key_file(self.vault_folder.key_file).unlink(missing_ok=True)
        if new is not None:
            new_key_file(self.vault_folder.key_file).touch(0o600)
            new_key_file(self.vault_folder.key_file).write_bytes(new)


def test_rotation_changes_the_key_and_keeps_the_secrets(vault_folder: VaultFolder) -> None:
    steps = RotationSteps(vault_folder)
    assert steps.old_key != steps.new_key
    assert vault_folder.secret_values() == SECRETS
    assert not new_key_file(vault_folder.key_file).exists()
    assert vault_folder.key_file.stat().st_mode & 0o077 == 0
    vault_folder.key_file.write_bytes(steps.old_key)
    with pytest.raises(VaultError):
        vault_folder.open()


@pytest.mark.parametrize("state", range(5))
def test_interrupted_rotation_opens_and_can_be_rotated(vault_folder: VaultFolder, state: int) -> None:
    steps = RotationSteps(vault_folder)
    key, new, vault = [
        (steps.old_key, None, steps.old_vault),
        (steps.old_key, steps.new_key, steps.old_vault),
        (steps.old_key, steps.new_key, steps.new_vault),
        (steps.new_key, None, steps.new_vault),
        (steps.new_key, steps.old_key, steps.new_vault),  # the next rotation, about to seal
    ][state]
    steps.write(key=key, new=new, vault=vault)
    assert vault_folder.secret_values() == SECRETS
    vault_folder.open().set(ALLOY_API_KEY, "set-meanwhile", NOON)
    assert vault_folder.secret_values()[ALLOY_API_KEY] == "set-meanwhile"
    rotate(vault_folder.config_source, vault_folder.settings)
    assert vault_folder.secret_values() == {**SECRETS, ALLOY_API_KEY: "set-meanwhile"}
    assert not new_key_file(vault_folder.key_file).exists()
    assert vault_folder.key_file.read_bytes() not in (steps.old_key, steps.new_key)


def test_partly_written_new_key_is_ignored(vault_folder: VaultFolder) -> None:
    """The new key is first written to a file of another name, which is then renamed."""
    steps = RotationSteps(vault_folder)
    steps.write(key=steps.old_key, new=None, vault=steps.old_vault)
    vault_folder.key_file.with_name(f".{new_key_file(vault_folder.key_file).name}.x7").write_bytes(steps.new_key[:20])
    assert vault_folder.secret_values() == SECRETS
    rotate(vault_folder.config_source, vault_folder.settings)
    assert vault_folder.secret_values() == SECRETS


def test_failed_rotation_after_an_interrupted_one_loses_nothing(vault_folder: VaultFolder) -> None:
    """The key in force has the name of the new key, which this rotation is about to write."""
    steps = RotationSteps(vault_folder)
    steps.write(key=steps.old_key, new=steps.new_key, vault=steps.new_vault)
    with no_file_larger_than(10), pytest.raises(VaultError, match="cannot be written"):
        rotate(vault_folder.config_source, vault_folder.settings)
    assert vault_folder.secret_values() == SECRETS


def test_rotation_of_key_in_a_variable_is_refused_with_hint(tmp_path: Path) -> None:
    vault_folder = VaultFolder(tmp_path, {"FORWARDER_MASTER_KEY": master_key.generate()})
    vault_folder.open().set(ALLOY_API_KEY, "x", NOON)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(VaultError, match="FORWARDER_MASTER_KEY") as raised:
        rotate(vault_folder.config_source, vault_folder.settings)
    assert raised.value.hint
    assert sorted(tmp_path.iterdir()) == before
    assert Vault.open(vault_folder.config_source, vault_folder.settings).reveal(ALLOY_API_KEY) is not None


def test_empty_vault_can_be_rotated(tmp_path: Path) -> None:
    vault_folder = VaultFolder(tmp_path)
    before = vault_folder.make_key()
    rotate(vault_folder.config_source, vault_folder.settings)
    assert vault_folder.key_file.read_bytes() != before
    assert vault_folder.secret_values() == {}
