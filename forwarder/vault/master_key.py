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

from forwarder.errors import VaultError
from forwarder.settings import LocalSettings, Place

KEY_BYTES = 32
CREDENTIAL = "forwarder-master-key"
VARIABLE = "FORWARDER_MASTER_KEY"


@dataclass(frozen=True, slots=True)
class MasterKey:
    """`file` is where it came from, or None for the environment; `mutable` is whether we may write there."""

    key: bytes = field(repr=False)
    origin: str
    file: Path | None = None
    mutable: bool = False

    @property
    def id(self) -> str:
        """Names the key without telling it: the start of a digest with a purpose of its own."""
        return hashlib.sha256(b"forwarder master key id\0" + self.key).hexdigest()[:16]


def generate() -> str:
    """A new key as it stands in its file, with the newline."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode() + "\n"


def find(place: Place, settings: LocalSettings) -> list[MasterKey]:
    """The keys that may open the vault: the one in force first, then one that a rotation left beside it.

    Raises VaultError where there is none, or one that anybody on this machine could read.
    """
    found = list(_candidates(place, settings))
    if not found:
        raise VaultError(
            "there is no master key",
            hint=f"make one with `forwarder init`, or set {VARIABLE} or [vault] master_key_file",
        )
    return found


def beside(file: Path) -> Path:
    """Where a rotation keeps the new key until the vault is sealed under it."""
    return file.with_name(file.name + ".new")


def is_handed_over(place: Place) -> bool:
    """Whether somebody else keeps the key: systemd, an orchestrator, or whoever set the variable."""
    return _credential(place) is not None or bool(place.environ.get(VARIABLE))


def _credential(place: Place) -> Path | None:
    folder = place.environ.get("CREDENTIALS_DIRECTORY")
    file = Path(folder) / CREDENTIAL if folder else None
    return file if file and file.exists() else None


def _candidates(place: Place, settings: LocalSettings) -> Iterator[MasterKey]:
    if file := _credential(place):
        yield MasterKey(_read(file), f"the credential {CREDENTIAL}", file)
        return
    if settings.vault.master_key_file:
        file = place.path(settings.vault.master_key_file).resolve()
        if file.exists():
            yield MasterKey(_read(file), str(file), file, mutable=True)
        if (new := beside(file)).exists():
            yield MasterKey(_read(new), str(new), new, mutable=True)
        if file.exists() or new.exists():
            return
    if text := place.environ.get(VARIABLE):
        yield MasterKey(decode(text, VARIABLE), f"the variable {VARIABLE}")


def _read(file: Path) -> bytes:
    refuse_readable_by_all(file)
    try:
        return decode(file.read_text(encoding="ascii"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise VaultError(f"the master key {file} cannot be read: {type(error).__name__}") from None


def decode(text: str, origin: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise VaultError(f"{origin} is not one base64 line of {KEY_BYTES} bytes", hint="`forwarder init` makes one")
    return key


def refuse_readable_by_all(file: Path) -> None:
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise VaultError(f"{file} cannot be read: {error.strerror}") from None
    if mode & stat.S_IRWXO:
        raise VaultError(f"{file} is open to every user of this machine", hint=f"chmod 600 {file}")


def is_open_to_group(file: Path) -> bool:
    return file.exists() and bool(os.stat(file).st_mode & stat.S_IRWXG)  # noqa: PTH116  # follows links
