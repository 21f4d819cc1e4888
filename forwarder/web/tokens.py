"""Access tokens: 256 random bits, printed once. Only a digest is kept, sealed in the vault.

A plain SHA-256 is enough. A slow hash protects tokens that can be guessed, and 256 random bits cannot be guessed. It
would only raise the cost of each attempt for the server.
"""

import hashlib
import hmac
import secrets
from datetime import datetime

import structlog

from forwarder.errors import VaultError
from forwarder.settings import ConfigSource, LocalSettings
from forwarder.settings.watch import identity
from forwarder.vault import DIGESTS, Vault, locked_vault

log = structlog.get_logger("web")

TOKEN_BYTES = 32


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def issue_token(config_source: ConfigSource, settings: LocalSettings, name: str, now: datetime) -> str:
    """Return a new token, and store its digest under `name` in place of the previous one.

    Raise VaultError if the vault cannot be opened or written.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with locked_vault(config_source, settings):
        Vault.open(config_source, settings).set(name, digest_of(token), now)
    return token


def issue_first_token(config_source: ConfigSource, settings: LocalSettings, name: str, now: datetime) -> str | None:
    """Return a new token, or None if one exists: it is not replaced. Raise VaultError if the vault cannot be used."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with locked_vault(config_source, settings):
        vault = Vault.open(config_source, settings)
        if vault.set_at(name) is not None:
            return None
        vault.set(name, digest_of(token), now)
    return token


class TokenDigests:
    """The digests in the vault. They are read again when its file or key changes, so a new token is valid at once."""

    def __init__(self, config_source: ConfigSource, settings: LocalSettings) -> None:
        self._config_source = config_source
        self._settings = settings
        vault = settings.vault
        self._files = [config_source.path(name) for name in (vault.file, vault.master_key_file) if name]
        self._identities: list[tuple[int, ...] | None] = []
        self._digests: dict[str, str] = {}
        self._last_error = ""

    def get(self, name: str) -> str | None:
        """Return the digest of a token, or None if it is not set or the vault cannot be opened."""
        identities = [identity(file) for file in self._files]
        if identities != self._identities:
            self._read(identities)
        return self._digests.get(name)

    def verify(self, name: str, token: str) -> bool:
        """Return whether `token` is the current token of that name. The comparison takes constant time."""
        known = self.get(name)
        return known is not None and hmac.compare_digest(known, digest_of(token))

    def _read(self, identities: list[tuple[int, ...] | None]) -> None:
        """Read the digests. After a failure there are none, and the next request reads them again."""
        self._digests = {}
        try:
            vault = Vault.open(self._config_source, self._settings)
            found = {name: vault.reveal(name) for name in DIGESTS}
        except VaultError as error:
            if error.message != self._last_error:  # each request, of anybody, may come here
                log.error("cannot read tokens", reason=error.message, hint=error.hint)  # noqa: TRY400  # a person has to act
            self._last_error = error.message
            return
        self._digests = {name: digest.get_secret_value() for name, digest in found.items() if digest is not None}
        self._identities, self._last_error = identities, ""
