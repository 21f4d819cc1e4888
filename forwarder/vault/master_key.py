"""The master key: one base64 line of 32 bytes, from systemd's credentials, a file, or the environment."""

import base64
import binascii
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from forwarder import atomicfile
from forwarder.errors import VaultError
from forwarder.settings import ConfigSource, LocalSettings, pasted

KEY_BYTES = 32
CREDENTIAL = "forwarder-master-key"
VARIABLE = "FORWARDER_MASTER_KEY"
FILE_VARIABLE = "FORWARDER_MASTER_KEY_FILE"
"""The variable that names a file with the key. The suffix _FILE is a convention of Docker's official images."""

SECRET_MOUNTS = (Path("/run/secrets"), Path("/var/run/secrets"), Path("/run/credentials"))
"""Folders into which Docker, Podman, Kubernetes and systemd mount secrets. They choose the modes of the files."""

MAX_KEY_FILE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A master key. `origin` names its source in messages.

    `file` is the file that holds it, or None for a variable. `mutable` is whether the forwarder may write that file.
    """

    key: bytes = field(repr=False)
    origin: str
    file: Path | None = None
    mutable: bool = False

    @property
    def id(self) -> str:
        """Return an identifier of the key that does not reveal it: the first 16 hex digits of a digest."""
        return hashlib.sha256(b"forwarder master key id\0" + self.key).hexdigest()[:16]


def generate() -> str:
    """Return a new random key as the content of a key file: one base64 line."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode() + "\n"


def find_master_keys(config_source: ConfigSource, settings: LocalSettings) -> list[MasterKey]:
    """Return the keys that may open the vault: the current one, and the new one of an interrupted rotation.

    Raise VaultError if there is no key, if one is invalid, or if every user of this machine can read one.
    """
    found = list(_candidates(config_source, settings))
    if not found:
        has_vault = atomicfile.lexists(config_source.path(settings.vault.file))
        raise VaultError(
            "there is no master key",
            hint=f"bring back the one that {settings.vault.file} is sealed under: no other key opens it"
            if has_vault
            else f"make one with `forwarder init`, or set {VARIABLE} or [vault] master_key_file",
        )
    return found


def new_key_file(file: Path) -> Path:
    """Return the path of the file in which a rotation keeps the new key until the vault is sealed under it."""
    return file.with_name(file.name + ".new")


def is_externally_provided(config_source: ConfigSource) -> bool:
    """Return whether a systemd credential or a variable provides the key, so that `init` creates none."""
    return _credential(config_source) is not None or any(
        config_source.environ.get(name) for name in (VARIABLE, FILE_VARIABLE)
    )


def _credential(config_source: ConfigSource) -> Path | None:
    folder = config_source.environ.get("CREDENTIALS_DIRECTORY")
    file = Path(folder) / CREDENTIAL if folder else None
    return file if file and atomicfile.lexists(file) else None


def _candidates(config_source: ConfigSource, settings: LocalSettings) -> Iterator[MasterKey]:
    if file := _credential(config_source):
        yield MasterKey(_read(file, externally_provided=True), f"the credential {CREDENTIAL}", file)
        return
    if name := config_source.environ.get(FILE_VARIABLE):
        file = config_source.path(name)
        yield MasterKey(_read(file, externally_provided=is_mounted(file)), f"{file}, of {FILE_VARIABLE}", file)
        return
    if settings.vault.master_key_file:
        named = config_source.path(settings.vault.master_key_file)
        file = atomicfile.resolve_links(named)
        lexists, is_ours = atomicfile.lexists(named), not is_mounted(file)
        if lexists:
            key = _read(file if file.exists() else named, externally_provided=not is_ours)
            yield MasterKey(key, str(file), file, mutable=is_ours)
        if has_new := atomicfile.lexists(new := new_key_file(file)):
            yield MasterKey(_read(new, externally_provided=False), str(new), new, mutable=True)
        if lexists or has_new:
            return
    if text := config_source.environ.get(VARIABLE):
        yield MasterKey(decode(text, f"the variable {VARIABLE}"), f"the variable {VARIABLE}")


def _read(file: Path, *, externally_provided: bool) -> bytes:
    """Return the key in a file. Raise VaultError if the file cannot be read or holds no key.

    Also raise it if every user can open the file, unless it is externally provided: its provider chose the mode.
    """
    try:
        content = atomicfile.read(file, max_bytes=MAX_KEY_FILE_BYTES)
    except OSError as error:
        raise VaultError(
            f"the master key {file} cannot be read: {error.strerror}",
            hint="bring the key back, or correct its place or its permissions: no other key opens the vault",
        ) from None
    if not externally_provided:
        require_not_world_accessible(file)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = ""
    return decode(text, f"the master key {file}")


def decode(text: str, origin: str) -> bytes:
    """Return the 32 bytes of a base64 text. Raise VaultError if it is not a key.

    The message names `origin`, and holds no part of the text.
    """
    text = pasted.trim(text)
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        problem = pasted.describe_wrapping(text) if text else "is empty"
        raise VaultError(
            f"{origin} {problem or f'is not one base64 line of {KEY_BYTES} bytes'}",
            hint="restore the key that the vault was sealed under; for a new vault, move the key and the vault away"
            " first, and run `forwarder init`",
        )
    return key


def is_mounted(file: Path) -> bool:
    """Return whether a file is in SECRET_MOUNTS or on a read-only file system. Its provider then chose the mode."""
    if any(mount in file.parents for mount in SECRET_MOUNTS):
        return True
    try:
        return bool(os.statvfs(file).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def require_not_world_accessible(file: Path) -> None:
    """Raise VaultError if every user may open a file, unless it is mounted, or if the file cannot be read."""
    try:
        status = file.stat()
    except OSError as error:
        raise VaultError(f"{file} cannot be read: {error.strerror}") from None
    if not status.st_mode & stat.S_IRWXO or is_mounted(file):
        return
    hint = f"chmod 600 {file}"
    if status.st_uid != os.geteuid() != 0:
        hint = f"as root: chown {os.geteuid()} {file} && chmod 600 {file}"
    raise VaultError(f"{file} is open to every user of this machine", hint=hint)


def is_open_to_group(file: Path) -> bool:
    try:
        mode = os.stat(file).st_mode  # noqa: PTH116  # follows links
    except OSError:
        return False
    return bool(mode & stat.S_IRWXG) and not is_mounted(file)
