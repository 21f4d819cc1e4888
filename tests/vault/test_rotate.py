"""The master key changes without a moment in which nothing opens."""

from pathlib import Path

import pytest

from forwarder.errors import VaultError
from forwarder.vault import ALLOY_API_KEY, Vault, master_key
from forwarder.vault.master_key import new_key_file
from forwarder.vault.rotate import rotate
from tests.vault.vault_folder import SECRETS, VaultFolder, filled_vault_folder
from tests.virtual_clock import NOON


@pytest.fixture
def home(tmp_path: Path) -> VaultFolder:
    return filled_vault_folder(tmp_path)


class RotationSteps:
    """What a rotation writes: the files of before and of after, to put any state between them on the disk."""

    def __init__(self, home: VaultFolder) -> None:
        self.home = home
        self.old_key, self.old_vault = home.key_file.read_bytes(), home.vault_file.read_bytes()
        rotate(home.config_source, home.settings)
        self.new_key, self.new_vault = home.key_file.read_bytes(), home.vault_file.read_bytes()

    def lay(self, *, key: bytes, new: bytes | None, vault: bytes) -> None:
        self.home.key_file.write_bytes(key)
        self.home.vault_file.write_bytes(vault)
        new_key_file(self.home.key_file).unlink(missing_ok=True)
        if new is not None:
            new_key_file(self.home.key_file).touch(0o600)
            new_key_file(self.home.key_file).write_bytes(new)


def test_a_rotation_changes_the_key_and_keeps_the_secrets(home: VaultFolder) -> None:
    rotated = RotationSteps(home)
    assert rotated.old_key != rotated.new_key
    assert home.secret_values() == SECRETS
    assert not new_key_file(home.key_file).exists()
    assert home.key_file.stat().st_mode & 0o077 == 0
    home.key_file.write_bytes(rotated.old_key)
    with pytest.raises(VaultError):
        home.open()


@pytest.mark.parametrize("state", range(5))
def test_every_state_between_opens_and_can_be_rotated_further(home: VaultFolder, state: int) -> None:
    done = RotationSteps(home)
    key, new, vault = [
        (done.old_key, None, done.old_vault),
        (done.old_key, done.new_key, done.old_vault),
        (done.old_key, done.new_key, done.new_vault),
        (done.new_key, None, done.new_vault),
        (done.new_key, done.old_key, done.new_vault),  # the next rotation, about to seal
    ][state]
    done.lay(key=key, new=new, vault=vault)
    assert home.secret_values() == SECRETS
    home.open().set(ALLOY_API_KEY, "set-meanwhile", NOON)
    assert home.secret_values()[ALLOY_API_KEY] == "set-meanwhile"
    rotate(home.config_source, home.settings)
    assert home.secret_values() == {**SECRETS, ALLOY_API_KEY: "set-meanwhile"}
    assert not new_key_file(home.key_file).exists()
    assert home.key_file.read_bytes() not in (done.old_key, done.new_key)


def test_a_cut_while_the_new_key_is_written_locks_nobody_out(home: VaultFolder) -> None:
    """It is put in place whole: before that, half of it stands under another name."""
    done = RotationSteps(home)
    done.lay(key=done.old_key, new=None, vault=done.old_vault)
    home.key_file.with_name(f".{new_key_file(home.key_file).name}.x7").write_bytes(done.new_key[:20])
    assert home.secret_values() == SECRETS
    rotate(home.config_source, home.settings)
    assert home.secret_values() == SECRETS


def test_a_key_from_elsewhere_is_not_rotated_but_explained(tmp_path: Path) -> None:
    home = VaultFolder(tmp_path, {"FORWARDER_MASTER_KEY": master_key.generate()})
    home.open().set(ALLOY_API_KEY, "x", NOON)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(VaultError, match="FORWARDER_MASTER_KEY") as raised:
        rotate(home.config_source, home.settings)
    assert raised.value.hint
    assert sorted(tmp_path.iterdir()) == before
    assert Vault.open(home.config_source, home.settings).reveal(ALLOY_API_KEY) is not None


def test_an_empty_vault_can_be_rotated(tmp_path: Path) -> None:
    home = VaultFolder(tmp_path)
    before = home.make_key()
    rotate(home.config_source, home.settings)
    assert home.key_file.read_bytes() != before
    assert home.secret_values() == {}
