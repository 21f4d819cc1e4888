"""Tokens that let in: 256 random bits, shown once, of which only a digest is kept, sealed in the vault.

A plain SHA-256 is enough for that. A slow hash makes guessing slow, and nobody guesses 256 random bits: it would only
let a stranger's tries cost us more.
"""

import hashlib
import hmac
import secrets
from datetime import datetime

import structlog

from forwarder import files
from forwarder.errors import VaultError
from forwarder.settings import LocalSettings, Place
from forwarder.settings.watch import identity
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
    """The digests that the vault holds now, read again when its file or key changes: a new token counts at once."""

    def __init__(self, place: Place, settings: LocalSettings) -> None:
        self._place = place
        self._settings = settings
        vault = settings.vault
        self._files = [place.path(name) for name in (vault.file, vault.master_key_file) if name]
        self._seen: list[tuple[int, ...] | None] = []
        self._digests: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        """None where there is none, or the vault cannot be opened."""
        seen = [identity(file) for file in self._files]
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
