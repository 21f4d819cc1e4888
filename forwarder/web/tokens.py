"""Tokens that let in: 256 random bits, shown once, of which only a digest is kept, sealed in the vault.

A plain SHA-256 is enough for that. A slow hash makes guessing slow, and nobody guesses 256 random bits: it would only
let a stranger's tries cost us more.
"""

import hashlib
import hmac
import os
import secrets
from datetime import datetime
from pathlib import Path

import structlog

from forwarder import files
from forwarder.errors import VaultError
from forwarder.settings import LocalSettings, Place
from forwarder.vault import DIGESTS, Vault

log = structlog.get_logger("web")

TOKEN_BYTES = 32


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def renew(place: Place, settings: LocalSettings, name: str, now: datetime) -> str:
    """A new token, in place of the one before; its digest is kept under this name. Raises VaultError."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with files.locked(place.path(settings.vault.file).resolve().parent):
        Vault.open(place, settings).set(name, digest_of(token), now)
    return token


class Digests:
    """The digests that the vault holds now: read again when its file changes, so that a new token counts at once."""

    def __init__(self, place: Place, settings: LocalSettings) -> None:
        self._place = place
        self._settings = settings
        self._file = place.path(settings.vault.file)
        self._seen: tuple[int, ...] | None = None
        self._digests: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        """None where there is none, or the vault cannot be opened."""
        seen = _identity(self._file)
        if seen != self._seen:
            self._digests = self._read()
            self._seen = seen
        return self._digests.get(name)

    def opens(self, name: str, token: str) -> bool:
        """Whether it is the token of that name. Takes as long for a wrong one."""
        known = self.get(name)
        return known is not None and hmac.compare_digest(known, digest_of(token))

    def _read(self) -> dict[str, str]:
        try:
            vault = Vault.open(self._place, self._settings)
            found = {name: vault.reveal(name) for name in DIGESTS}
        except VaultError as error:
            log.error("the tokens cannot be read", why=error.message, mend=error.hint)  # noqa: TRY400  # a person mends it
            return {}
        return {name: digest.get_secret_value() for name, digest in found.items() if digest is not None}


def _identity(file: Path) -> tuple[int, ...] | None:
    try:
        stat = os.stat(file)  # noqa: PTH116  # follows links
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
