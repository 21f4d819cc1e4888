"""The master key changes without a moment in which nothing opens."""

from pathlib import Path

import pytest

from forwarder.errors import VaultError
from forwarder.vault import ALLOY_API_KEY, Vault, master_key
from forwarder.vault.master_key import beside
from forwarder.vault.rotate import rotate
from tests.clocks import NOON
from tests.vault.homes import SECRETS, Home, filled


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return filled(tmp_path)


class Rotated:
    """What a rotation writes: the files of before and of after, to put any state between them on the disk."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.old_key, self.old_vault = home.key_file.read_bytes(), home.vault_file.read_bytes()
        rotate(home.place, home.settings)
        self.new_key, self.new_vault = home.key_file.read_bytes(), home.vault_file.read_bytes()

    def lay(self, *, key: bytes, new: bytes | None, vault: bytes) -> None:
        self.home.key_file.write_bytes(key)
        self.home.vault_file.write_bytes(vault)
        beside(self.home.key_file).unlink(missing_ok=True)
        if new is not None:
            beside(self.home.key_file).touch(0o600)
            beside(self.home.key_file).write_bytes(new)


def test_a_rotation_changes_the_key_and_keeps_the_secrets(home: Home) -> None:
    rotated = Rotated(home)
    assert rotated.old_key != rotated.new_key
    assert home.revealed() == SECRETS
    assert not beside(home.key_file).exists()
    assert home.key_file.stat().st_mode & 0o077 == 0
    home.key_file.write_bytes(rotated.old_key)
    with pytest.raises(VaultError):
        home.open()


@pytest.mark.parametrize("state", range(5))
def test_every_state_between_opens_and_can_be_rotated_further(home: Home, state: int) -> None:
    done = Rotated(home)
    key, new, vault = [
        (done.old_key, None, done.old_vault),
        (done.old_key, done.new_key, done.old_vault),
        (done.old_key, done.new_key, done.new_vault),
        (done.new_key, None, done.new_vault),
        (done.new_key, done.old_key, done.new_vault),  # the next rotation, about to seal
    ][state]
    done.lay(key=key, new=new, vault=vault)
    assert home.revealed() == SECRETS
    home.open().set(ALLOY_API_KEY, "set-meanwhile", NOON)
    assert home.revealed()[ALLOY_API_KEY] == "set-meanwhile"
    rotate(home.place, home.settings)
    assert home.revealed() == {**SECRETS, ALLOY_API_KEY: "set-meanwhile"}
    assert not beside(home.key_file).exists()
    assert home.key_file.read_bytes() not in (done.old_key, done.new_key)


def test_a_cut_while_the_new_key_is_written_locks_nobody_out(home: Home) -> None:
    """It is put in place whole: before that, half of it stands under another name."""
    done = Rotated(home)
    done.lay(key=done.old_key, new=None, vault=done.old_vault)
    home.key_file.with_name(f".{beside(home.key_file).name}.x7").write_bytes(done.new_key[:20])
    assert home.revealed() == SECRETS
    rotate(home.place, home.settings)
    assert home.revealed() == SECRETS


def test_a_key_from_elsewhere_is_not_rotated_but_explained(tmp_path: Path) -> None:
    home = Home(tmp_path, {"FORWARDER_MASTER_KEY": master_key.generate()})
    home.open().set(ALLOY_API_KEY, "x", NOON)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(VaultError, match="FORWARDER_MASTER_KEY") as raised:
        rotate(home.place, home.settings)
    assert raised.value.hint
    assert sorted(tmp_path.iterdir()) == before
    assert Vault.open(home.place, home.settings).reveal(ALLOY_API_KEY) is not None


def test_an_empty_vault_can_be_rotated(tmp_path: Path) -> None:
    home = Home(tmp_path)
    before = home.make_key()
    rotate(home.place, home.settings)
    assert home.key_file.read_bytes() != before
    assert home.revealed() == {}
