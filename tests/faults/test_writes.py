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
from forwarder.ledger.repair.recover import recover
from forwarder.ledger.sqlite.lock import LEDGER_CREATED_LINE, lock_file
from forwarder.settings import ConfigSource, load, load_local
from forwarder.settings.edit import set_value
from forwarder.vault.rotate import rotate
from tests.faults.environment import create_installation
from tests.harness.installation import ROOT, SECRETS, Installation
from tests.ledger.damaged_ledger import WHOLE, damage_page, fill, pages
from tests.ledger.ledger_files import counters

NAME = "alloy-api-key"
NEW = "alloy-n3w-planted-0002"
NO_NETWORK = 69


@dataclass(frozen=True)
class Tries:
    """`cut` are the homes that a dying verb left behind, and `whole` the one where it lived; `steps` are the names of
    the points where it died.
    """

    cut: list[Installation]
    whole: Installation
    steps: list[str]


Dying = Callable[..., Tries]


@pytest.fixture
def dying(tmp_path: Path) -> Dying:
    def tries(
        *command: str, stdin: str = "", before: Callable[[Installation], None] = lambda _: None, code: int = 0
    ) -> Tries:
        start = tmp_path / "start"
        start.mkdir()
        before(create_installation(start))
        done = subprocess.run(  # noqa: S603 - the program under test
            [sys.executable, "-m", "tests.faults.kill_at_step", str(tmp_path), *command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        places = [place for place in tmp_path.iterdir() if place != start]
        *cut, whole = [Installation.at(place) for place in sorted(places, key=by_number) if place.is_dir()]
        steps = [place.read_text() for place in sorted(places, key=by_number) if place.is_file()]
        return Tries(cut, whole, steps)

    return tries


def by_number(place: Path) -> int:
    return int(place.stem)


def key_of(installation: Installation) -> str:
    """Raises VaultError where the vault does not open."""
    secret = installation.open_vault().reveal(NAME)
    return secret.get_secret_value() if secret else ""


def secrets_of(installation: Installation) -> dict[str, str]:
    vault = installation.open_vault()
    return {name: secret.get_secret_value() for name in SECRETS if (secret := vault.reveal(name))}


def test_a_key_that_is_being_set_is_the_old_or_the_new_one(dying: Dying) -> None:
    tries = dying("keys", "set", NAME, stdin=NEW)
    keys = [key_of(installation) for installation in [*tries.cut, tries.whole]]
    assert len(tries.cut) >= 4
    assert keys == sorted(keys, key=[SECRETS[NAME], NEW].index)
    assert (keys[0], keys[-1]) == (SECRETS[NAME], NEW)


def test_a_key_that_was_being_set_can_be_set_again(dying: Dying) -> None:
    for installation in dying("keys", "set", NAME, stdin=NEW).cut:
        installation.open_vault().set(NAME, NEW, datetime.now(UTC))
        assert secrets_of(installation) == SECRETS | {NAME: NEW}


def test_a_rotation_that_is_cut_anywhere_locks_nobody_out(dying: Dying) -> None:
    tries = dying("keys", "rotate")
    assert len(tries.cut) >= 8
    for installation in [*tries.cut, tries.whole]:
        assert secrets_of(installation) == SECRETS


def test_a_rotation_that_was_cut_is_finished_by_the_next(dying: Dying) -> None:
    for installation in dying("keys", "rotate").cut:
        before = installation.open_vault().key.id
        place = ConfigSource(installation.settings_file, {})
        rotate(place, load_local(place))
        assert installation.open_vault().key.id != before
        assert secrets_of(installation) == SECRETS
        assert not installation.master_key_file.with_name(installation.master_key_file.name + ".new").exists()


def test_a_rotation_after_a_rotation_that_was_cut_may_be_cut_as_well(dying: Dying) -> None:
    def rotated_half(installation: Installation) -> None:
        """The vault is sealed under the new key, and that is not yet in its place."""
        installation.master_key_file.rename(
            installation.master_key_file.with_name(installation.master_key_file.name + ".new")
        )

    for installation in dying("keys", "rotate", before=rotated_half).cut:
        assert secrets_of(installation) == SECRETS


def test_the_master_key_in_force_alone_opens_the_vault_after_a_whole_rotation(dying: Dying) -> None:
    installation = dying("keys", "rotate").whole
    installation.master_key_file.write_text("bm90IHRoZSBrZXkgYXQgYWxsLCBidXQgMzIgYnl0ZXM=\n")
    with pytest.raises(VaultError):
        installation.open_vault()


def test_settings_that_are_being_switched_are_the_old_or_the_new_ones(dying: Dying) -> None:
    tries = dying("disable")
    switches = [
        load(ConfigSource(installation.settings_file, {})).enabled for installation in [*tries.cut, tries.whole]
    ]
    assert len(tries.cut) >= 4
    assert switches == sorted(switches, reverse=True)
    assert (switches[0], switches[-1]) == (True, False)


def test_settings_that_were_being_switched_can_be_switched_again(dying: Dying) -> None:
    def comments(installation: Installation) -> None:
        installation.settings_file.write_text("# kept by hand\n" + installation.settings_file.read_text())

    for installation in dying("disable", before=comments).cut:
        set_value(ConfigSource(installation.settings_file, {}), "enabled", False)
        assert load(ConfigSource(installation.settings_file, {})).enabled is False
        assert "# kept by hand" in installation.settings_file.read_text()


def test_a_key_that_is_being_removed_is_there_or_not(dying: Dying) -> None:
    tries = dying("keys", "remove", NAME)
    keys = [key_of(installation) for installation in [*tries.cut, tries.whole]]
    assert keys == sorted(keys, reverse=True)
    assert (keys[0], keys[-1]) == (SECRETS[NAME], "")


def damaged(installation: Installation) -> None:
    """A ledger that a daemon had run on, with a hole in its indexes."""
    fill(installation.ledger_file)
    damage_page(installation.ledger_file, pages(installation.ledger_file, "entries_pending")[0])
    lock_file(installation.ledger_file).write_text(LEDGER_CREATED_LINE)


def test_a_rescue_that_is_cut_anywhere_starts_no_new_ledger_and_is_done_by_the_next(dying: Dying) -> None:
    tries = dying("ledger", "repair", before=damaged, code=NO_NETWORK)
    assert {installation.ledger_file.exists() for installation in tries.cut} == {True, False}
    for installation in tries.cut:
        done = installation.run_command("run") if not installation.ledger_file.exists() else None
        assert done is None or (done.code, "is gone" in done.err) == (1, True)
        recover(installation.ledger_file)
        assert counters(installation.ledger_file) == WHOLE
        assert len(list(installation.directory.glob("forwarder.db.damaged-*"))) in {1, 2}
        assert not list(installation.directory.glob("forwarder.db.[rc]*"))


def written(name: str) -> list[str]:
    return [f"make the new {name}", f"fsync the new {name}", f"replace {name}", "fsync its folder"]


def made(name: str) -> list[str]:
    return [*written(name)[:2], f"link {name}", f"unlink the new {name}", "fsync its folder"]


STEPS: dict[tuple[str, ...], list[str]] = {
    ("disable",): written("forwarder.toml"),
    ("enable",): [],
    ("keys", "set", NAME): written("forwarder.keys"),
    ("keys", "remove", NAME): written("forwarder.keys"),
    ("keys", "rotate"): [
        "unlink forwarder.master-key.new",
        *made("forwarder.master-key.new"),
        *written("forwarder.keys"),
        *("replace forwarder.master-key", "fsync its folder"),
    ],
}
"""Every step on disk of each verb that writes settings or the vault."""


@pytest.mark.parametrize("command", STEPS, ids=" ".join)
def test_each_step_of_writing_settings_and_vault_is_killed_at_by_name(dying: Dying, command: tuple[str, ...]) -> None:
    assert dying(*command, stdin=NEW).steps == STEPS[command]
