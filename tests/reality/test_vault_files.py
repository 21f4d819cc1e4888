"""Vault, master key and settings file that are not regular files, or are in a mount of secrets."""

from __future__ import annotations

import base64
import codecs
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from forwarder.errors import SettingsError, VaultError
from forwarder.vault import master_key
from tests.disk_faults import unprivileged
from tests.vault.vault_folder import SECRETS, VaultFolder, filled_vault_folder


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(path.parent)  # the path of a socket is short
        try:
            listener.bind(path.name)
        finally:
            os.chdir(before)


def _huge(path: Path) -> None:
    path.touch(0o600)
    os.truncate(path, 1 << 30)


KINDS: Final[dict[str, tuple[Callable[[Path], object], str]]] = {
    "pipe": (os.mkfifo, "named pipe"),
    "directory": (lambda path: path.mkdir(), "directory"),
    "socket": (_socket, "socket"),
    "loop": (lambda path: path.symlink_to(path), "leads back to itself"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "not there"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "device"),
    "huge": (_huge, "larger"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["forwarder.keys", "forwarder.master-key", "forwarder.toml"])
def test_file_of_another_type_is_named(tmp_path: Path, name: str, kind: str) -> None:
    """No command hangs, or treats the file as an empty vault."""
    home = filled_vault_folder(tmp_path)
    make, words = KINDS[kind]
    (tmp_path / name).unlink()
    make(tmp_path / name)
    with pytest.raises((VaultError, SettingsError), match=words) as raised:
        home.open()
    assert raised.value.hint
    assert "remove" not in raised.value.hint


@pytest.mark.parametrize(("name", "words"), [("forwarder.keys", "damaged"), ("forwarder.master-key", "is empty")])
def test_empty_file_is_not_an_empty_vault(tmp_path: Path, name: str, words: str) -> None:
    home = filled_vault_folder(tmp_path)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(VaultError, match=words):
        home.open()


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b" \n\n"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_key_with_byte_order_mark_and_line_ends_is_read(tmp_path: Path, mark: bytes, end: bytes) -> None:
    home = filled_vault_folder(tmp_path)
    home.key_file.write_bytes(mark + home.key_file.read_bytes().strip() + end)
    assert home.secret_values() == SECRETS


def test_key_in_quotes_is_named(tmp_path: Path) -> None:
    home = filled_vault_folder(tmp_path)
    home.key_file.write_text(f'"{home.key_file.read_text().strip()}"')
    with pytest.raises(VaultError, match="quotation marks"):
        home.open()


@pytest.mark.parametrize("mode", [0o444, 0o440, 0o400, 0o644])
def test_credential_of_any_mount_mode_is_accepted(tmp_path: Path, mode: int) -> None:
    """Docker and Compose mount secrets with 0444, Kubernetes with 0644 through a link to a dated folder."""
    home = filled_vault_folder(tmp_path)
    mount = tmp_path / "run-secrets"
    (mount / "..2026").mkdir(parents=True)
    (mount / "..data").symlink_to("..2026")
    (mount / "..2026" / master_key.CREDENTIAL).write_bytes(home.key_file.read_bytes())
    (mount / "..2026" / master_key.CREDENTIAL).chmod(mode)
    (mount / master_key.CREDENTIAL).symlink_to(f"..data/{master_key.CREDENTIAL}")
    home.key_file.unlink()
    handed = VaultFolder(tmp_path, {"CREDENTIALS_DIRECTORY": str(mount)})
    assert handed.secret_values() == SECRETS
    assert handed.open().warnings() == []


def test_key_file_of_a_variable_is_used(tmp_path: Path) -> None:
    home = filled_vault_folder(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    home.key_file.rename(elsewhere)
    named = VaultFolder(tmp_path, {master_key.FILE_VARIABLE: str(elsewhere)})
    assert named.secret_values() == SECRETS
    assert master_key.is_externally_provided(named.config_source)
    with pytest.raises(VaultError, match="No such file"):
        VaultFolder(tmp_path, {master_key.FILE_VARIABLE: "/nowhere"}).open()


def test_secret_mount_keeps_its_mode(tmp_path: Path) -> None:
    assert master_key.is_mounted(Path("/run/secrets/forwarder-master-key"))
    assert not master_key.is_mounted(tmp_path)


def test_key_of_another_user_has_a_hint_that_works() -> None:
    """`chmod` alone would exclude the user of the forwarder. Every system has this file of root."""
    with unprivileged(), pytest.raises(VaultError) as raised:
        master_key.require_not_world_accessible(Path("/etc/passwd"))
    assert "as root: chown" in raised.value.hint


def test_variable_with_a_broken_key_is_named(tmp_path: Path) -> None:
    home = VaultFolder(tmp_path, {"FORWARDER_MASTER_KEY": base64.b64encode(b"short").decode()})
    with pytest.raises(VaultError, match="FORWARDER_MASTER_KEY"):
        home.open()
