"""Commands that are killed at any step of writing the vault, the settings or a repaired ledger leave valid files."""

from __future__ import annotations

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
from tests.harness.installation import ROOT, SECRETS, Installation, run_program
from tests.ledger.damaged_ledger import WHOLE, damage_page, fill, pages
from tests.ledger.ledger_files import counters

NAME = "alloy-api-key"
NEW = "alloy-n3w-planted-0002"
NO_NETWORK = 69


@dataclass(frozen=True)
class KilledRuns:
    """The installations that killed runs of a command left, that of the completed run, and the steps of the kills."""

    killed: list[Installation]
    completed: Installation
    steps: list[str]


KillAtEachStep = Callable[..., KilledRuns]


@pytest.fixture
def kill_at_each_step(tmp_path: Path) -> KillAtEachStep:
    def runs(
        *command: str, stdin: str = "", before: Callable[[Installation], None] = lambda _: None, code: int = 0
    ) -> KilledRuns:
        start = tmp_path / "start"
        start.mkdir()
        installation = create_installation(start)
        before(installation)
        program, words = [sys.executable, "-m", "tests.faults.kill_at_step"], [str(tmp_path), *command]
        done = run_program(program, words, stdin.encode(), 60, installation.environment(), ROOT)
        assert done.returncode == code, done.stdout + done.stderr
        directories = [directory for directory in tmp_path.iterdir() if directory != start]
        *killed, completed = [
            Installation.at(directory) for directory in sorted(directories, key=number_of) if directory.is_dir()
        ]
        steps = [directory.read_text() for directory in sorted(directories, key=number_of) if directory.is_file()]
        return KilledRuns(killed, completed, steps)

    return runs


def number_of(directory: Path) -> int:
    return int(directory.stem)


def key_of(installation: Installation) -> str:
    """Return the key, or "" without one. Raise VaultError if the vault does not open."""
    secret = installation.open_vault().reveal(NAME)
    return secret.get_secret_value() if secret else ""


def secrets_of(installation: Installation) -> dict[str, str]:
    vault = installation.open_vault()
    return {name: secret.get_secret_value() for name in SECRETS if (secret := vault.reveal(name))}


def test_killed_set_leaves_the_old_or_the_new_key(kill_at_each_step: KillAtEachStep) -> None:
    """A `keys set` that is killed at any step leaves either key, and the new one from some step on."""
    runs = kill_at_each_step("keys", "set", NAME, stdin=NEW)
    keys = [key_of(installation) for installation in [*runs.killed, runs.completed]]
    assert len(runs.killed) >= 4
    assert keys == sorted(keys, key=[SECRETS[NAME], NEW].index)
    assert (keys[0], keys[-1]) == (SECRETS[NAME], NEW)


def test_killed_set_can_be_repeated(kill_at_each_step: KillAtEachStep) -> None:
    for installation in kill_at_each_step("keys", "set", NAME, stdin=NEW).killed:
        installation.open_vault().set(NAME, NEW, datetime.now(UTC))
        assert secrets_of(installation) == SECRETS | {NAME: NEW}


def test_killed_rotation_keeps_all_secrets_readable(kill_at_each_step: KillAtEachStep) -> None:
    """A `keys rotate` that is killed at any step leaves a vault that opens."""
    runs = kill_at_each_step("keys", "rotate")
    assert len(runs.killed) >= 8
    for installation in [*runs.killed, runs.completed]:
        assert secrets_of(installation) == SECRETS


def test_killed_rotation_is_completed_by_the_next(kill_at_each_step: KillAtEachStep) -> None:
    for installation in kill_at_each_step("keys", "rotate").killed:
        before = installation.open_vault().key.id
        directory = ConfigSource(installation.settings_file, {})
        rotate(directory, load_local(directory))
        assert installation.open_vault().key.id != before
        assert secrets_of(installation) == SECRETS
        assert not installation.master_key_file.with_name(installation.master_key_file.name + ".new").exists()


def test_second_killed_rotation_keeps_all_secrets_readable(kill_at_each_step: KillAtEachStep) -> None:
    """A rotation that follows an incomplete one may be killed as well."""

    def leave_half_rotated(installation: Installation) -> None:
        """Leave a rotation in which the vault has the new key, and the file of the new key is not renamed yet."""
        installation.master_key_file.rename(
            installation.master_key_file.with_name(installation.master_key_file.name + ".new")
        )

    for installation in kill_at_each_step("keys", "rotate", before=leave_half_rotated).killed:
        assert secrets_of(installation) == SECRETS


def test_completed_rotation_leaves_one_valid_master_key(kill_at_each_step: KillAtEachStep) -> None:
    """After a rotation, no other key than the one in the key file opens the vault."""
    installation = kill_at_each_step("keys", "rotate").completed
    installation.master_key_file.write_text("bm90IHRoZSBrZXkgYXQgYWxsLCBidXQgMzIgYnl0ZXM=\n")
    with pytest.raises(VaultError):
        installation.open_vault()


def test_killed_disable_leaves_old_or_new_settings(kill_at_each_step: KillAtEachStep) -> None:
    runs = kill_at_each_step("disable")
    switches = [
        load(ConfigSource(installation.settings_file, {})).enabled for installation in [*runs.killed, runs.completed]
    ]
    assert len(runs.killed) >= 4
    assert switches == sorted(switches, reverse=True)
    assert (switches[0], switches[-1]) == (True, False)


def test_killed_disable_can_be_repeated(kill_at_each_step: KillAtEachStep) -> None:
    def comments(installation: Installation) -> None:
        installation.settings_file.write_text("# kept by hand\n" + installation.settings_file.read_text())

    for installation in kill_at_each_step("disable", before=comments).killed:
        set_value(ConfigSource(installation.settings_file, {}), "enabled", False)
        assert load(ConfigSource(installation.settings_file, {})).enabled is False
        assert "# kept by hand" in installation.settings_file.read_text()


def test_killed_remove_leaves_the_key_or_none(kill_at_each_step: KillAtEachStep) -> None:
    runs = kill_at_each_step("keys", "remove", NAME)
    keys = [key_of(installation) for installation in [*runs.killed, runs.completed]]
    assert keys == sorted(keys, reverse=True)
    assert (keys[0], keys[-1]) == (SECRETS[NAME], "")


def damaged(installation: Installation) -> None:
    """Create the ledger of an earlier daemon, with a damaged page in an index."""
    fill(installation.ledger_file)
    damage_page(installation.ledger_file, pages(installation.ledger_file, "entries_pending")[0])
    lock_file(installation.ledger_file).write_text(LEDGER_CREATED_LINE)


@pytest.mark.long
def test_killed_repair_starts_no_new_ledger_and_is_resumed(kill_at_each_step: KillAtEachStep) -> None:
    """After a kill at any step, `run` starts no new ledger, and the next repair completes."""
    runs = kill_at_each_step("ledger", "repair", before=damaged, code=NO_NETWORK)
    assert {installation.ledger_file.exists() for installation in runs.killed} == {True, False}
    for installation in runs.killed:
        done = installation.run_command("run") if not installation.ledger_file.exists() else None
        assert done is None or (done.code, "is gone" in done.err) == (1, True)
        recover(installation.ledger_file)
        assert counters(installation.ledger_file) == WHOLE
        assert len(list(installation.directory.glob("forwarder.db.damaged-*"))) in {1, 2}
        assert not list(installation.directory.glob("forwarder.db.[rc]*"))


def replace_steps(name: str) -> list[str]:
    return [f"make the new {name}", f"fsync the new {name}", f"replace {name}", "fsync its folder"]


def create_steps(name: str) -> list[str]:
    return [*replace_steps(name)[:2], f"link {name}", f"unlink the new {name}", "fsync its folder"]


STEPS: dict[tuple[str, ...], list[str]] = {
    ("disable",): replace_steps("forwarder.toml"),
    ("enable",): [],
    ("keys", "set", NAME): replace_steps("forwarder.keys"),
    ("keys", "remove", NAME): replace_steps("forwarder.keys"),
    ("keys", "rotate"): [
        "unlink forwarder.master-key.new",
        *create_steps("forwarder.master-key.new"),
        *replace_steps("forwarder.keys"),
        *("replace forwarder.master-key", "fsync its folder"),
    ],
}
"""Every step on disk of each command that writes settings or the vault."""


@pytest.mark.long
@pytest.mark.parametrize("command", STEPS, ids=" ".join)
def test_every_step_on_disk_has_a_kill(kill_at_each_step: KillAtEachStep, command: tuple[str, ...]) -> None:
    """The commands that write settings or the vault have exactly the listed steps, and are killed at each."""
    assert kill_at_each_step(*command, stdin=NEW).steps == STEPS[command]
