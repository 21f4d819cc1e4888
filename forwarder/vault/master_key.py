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
"""The variable that names a file with the key, as in the images of Docker's library."""

SECRET_MOUNTS = (Path("/run/secrets"), Path("/var/run/secrets"), Path("/run/credentials"))
"""Folders in which Docker, Podman, Kubernetes and systemd put secrets, with modes of their own choice."""

MAX_KEY_FILE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A master key. `file` is its source, or None for the environment; `mutable` is whether it may be written."""

    key: bytes = field(repr=False)
    origin: str
    file: Path | None = None
    mutable: bool = False

    @property
    def id(self) -> str:
        """Return a name of the key that does not reveal it: the start of a digest that has no other use."""
        return hashlib.sha256(b"forwarder master key id\0" + self.key).hexdigest()[:16]


def generate() -> str:
    """Return a new key in the form of its file, with the newline."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode() + "\n"


def find_master_keys(config_source: ConfigSource, settings: LocalSettings) -> list[MasterKey]:
    """Return the keys that may open the vault: the one in force first, then one that a rotation left beside it.

    Raise VaultError if no key exists, or if any user of this machine can read one.
    """
    found = list(_candidates(config_source, settings))
    if not found:
        raise VaultError(
            "there is no master key",
            hint=f"make one with `forwarder init`, or set {VARIABLE} or [vault] master_key_file",
        )
    return found


def new_key_file(file: Path) -> Path:
    """Return the file in which a rotation keeps the new key until the vault is sealed under it."""
    return file.with_name(file.name + ".new")


def is_externally_provided(config_source: ConfigSource) -> bool:
    """Return whether the key comes from outside: from systemd, an orchestrator or a variable."""
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
    """Return the key in a file. Raise VaultError if it cannot be read, or if others can read a file of ours.

    A file that comes from outside has the mode that its owner gives it.
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
    """Return the key. Raise VaultError, which never holds any of the text, if it is not one."""
    text = pasted.trim(text)
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        problem = pasted.describe_wrapping(text) if text else "is empty"
        raise VaultError(
            f"{origin} {problem or f'is not one base64 line of {KEY_BYTES} bytes'}",
            hint="restore the key that the vault was sealed under; for a new vault `forwarder init` makes one",
        )
    return key


def is_mounted(file: Path) -> bool:
    """Return whether somebody else hands a file over and chose its mode: it is on a mount of secrets, or read-only."""
    if any(mount in file.parents for mount in SECRET_MOUNTS):
        return True
    try:
        return bool(os.statvfs(file).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def require_not_world_accessible(file: Path) -> None:
    """Raise VaultError if every user may open a file whose mode we, or its owner, can change."""
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
