"""Each step of writing the vault and the settings can be the last: what is there then is the old or the new."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forwarder.errors import VaultError
from forwarder.settings import Place, load, load_local
from forwarder.settings.edit import set_value
from forwarder.vault.rotate import rotate
from tests.faults.home import ROOT, SECRETS, Home

NAME = "alloy-api-key"
NEW = "alloy-n3w-planted-0002"


@dataclass(frozen=True)
class Tries:
    """`cut` are the homes that a dying verb left behind, and `whole` the one where it lived."""

    cut: list[Home]
    whole: Home


Dying = Callable[..., Tries]


@pytest.fixture
def dying(tmp_path: Path) -> Dying:
    def tries(*verb: str, stdin: str = "", before: Callable[[Home], None] = lambda _: None) -> Tries:
        start = tmp_path / "start"
        start.mkdir()
        before(Home(start, alloy="http://127.0.0.1:9", bus="http://127.0.0.1:9"))
        done = subprocess.run(  # noqa: S603 - the program under test
            [sys.executable, "-m", "tests.faults.dying", str(tmp_path), *verb],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        *cut, whole = [Home.at(place) for place in sorted(tmp_path.iterdir(), key=by_number) if place != start]
        return Tries(cut, whole)

    return tries


def by_number(place: Path) -> int:
    return int(place.name) if place.name.isdecimal() else 0


def key_of(home: Home) -> str:
    """Raises VaultError where the vault does not open."""
    secret = home.vault().reveal(NAME)
    return secret.get_secret_value() if secret else ""


def secrets_of(home: Home) -> dict[str, str]:
    vault = home.vault()
    return {name: secret.get_secret_value() for name in SECRETS if (secret := vault.reveal(name))}


def test_a_key_that_is_being_set_is_the_old_or_the_new_one(dying: Dying) -> None:
    tries = dying("keys", "set", NAME, stdin=NEW)
    keys = [key_of(home) for home in [*tries.cut, tries.whole]]
    assert len(tries.cut) >= 4
    assert keys == sorted(keys, key=[SECRETS[NAME], NEW].index)
    assert (keys[0], keys[-1]) == (SECRETS[NAME], NEW)


def test_a_key_that_was_being_set_can_be_set_again(dying: Dying) -> None:
    for home in dying("keys", "set", NAME, stdin=NEW).cut:
        home.vault().set(NAME, NEW, datetime.now(UTC))
        assert secrets_of(home) == SECRETS | {NAME: NEW}


def test_a_rotation_that_is_cut_anywhere_locks_nobody_out(dying: Dying) -> None:
    tries = dying("keys", "rotate")
    assert len(tries.cut) >= 8
    for home in [*tries.cut, tries.whole]:
        assert secrets_of(home) == SECRETS


def test_a_rotation_that_was_cut_is_finished_by_the_next(dying: Dying) -> None:
    for home in dying("keys", "rotate").cut:
        before = home.vault().key.id
        place = Place(home.file, {})
        rotate(place, load_local(place))
        assert home.vault().key.id != before
        assert secrets_of(home) == SECRETS
        assert not home.master_key.with_name(home.master_key.name + ".new").exists()


def test_a_rotation_after_a_rotation_that_was_cut_may_be_cut_as_well(dying: Dying) -> None:
    def rotated_half(home: Home) -> None:
        """The vault is sealed under the new key, and that is not yet in its place."""
        home.master_key.rename(home.master_key.with_name(home.master_key.name + ".new"))

    for home in dying("keys", "rotate", before=rotated_half).cut:
        assert secrets_of(home) == SECRETS


def test_the_master_key_in_force_alone_opens_the_vault_after_a_whole_rotation(dying: Dying) -> None:
    home = dying("keys", "rotate").whole
    home.master_key.write_text("bm90IHRoZSBrZXkgYXQgYWxsLCBidXQgMzIgYnl0ZXM=\n")
    with pytest.raises(VaultError):
        home.vault()


def test_settings_that_are_being_switched_are_the_old_or_the_new_ones(dying: Dying) -> None:
    tries = dying("disable")
    switches = [load(Place(home.file, {})).enabled for home in [*tries.cut, tries.whole]]
    assert len(tries.cut) >= 4
    assert switches == sorted(switches, reverse=True)
    assert (switches[0], switches[-1]) == (True, False)


def test_settings_that_were_being_switched_can_be_switched_again(dying: Dying) -> None:
    def comments(home: Home) -> None:
        home.file.write_text("# kept by hand\n" + home.file.read_text())

    for home in dying("disable", before=comments).cut:
        set_value(Place(home.file, {}), "enabled", False)
        assert load(Place(home.file, {})).enabled is False
        assert "# kept by hand" in home.file.read_text()
