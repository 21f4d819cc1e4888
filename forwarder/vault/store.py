"""The vault file, which holds each secret separately encrypted with the master key.

The encryption is AES-256-GCM. Name, date and format are the associated data, so a secret cannot be opened if a byte was
changed, or if it was moved to another name or date. An old copy of the whole file can be opened: nothing prevents a
rollback.
"""

import base64
import binascii
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from forwarder import atomicfile
from forwarder.errors import SecretMissing, VaultError
from forwarder.settings import ConfigSource, LocalSettings
from forwarder.untrusted_json import decode_or_none
from forwarder.vault import master_key
from forwarder.vault.master_key import MasterKey
from forwarder.vault.secret_values import DIGESTS, missing_secret_error, validate_secret

FORMAT = 1
NONCE_BYTES = 12
SUFFIX_CHARACTERS = 4
MIN_SUFFIXED_SECRET_CHARACTERS = 16
"""The least length of a secret whose last characters are shown. Four characters of a shorter one reveal too much."""


class SealedSecret(msgspec.Struct, frozen=True):
    """A stored secret. `sealed` is base64 of nonce and ciphertext."""

    set_at: datetime
    sealed: str


class VaultFile(msgspec.Struct, frozen=True, rename={"format": "forwarder_vault"}):
    """The content of the file. The key of the format's number also identifies the file as a vault."""

    format: Annotated[int, msgspec.Meta(ge=1)]
    master_key: str
    secrets: dict[str, SealedSecret]


class Vault:
    """An open vault. Every change is written to the file at once, by `forwarder.atomicfile.replace`.

    A writer locks the folder of the file, and opens the vault again inside the lock.
    """

    def __init__(
        self, file: Path, key: MasterKey, sealed: Mapping[str, SealedSecret], *, has_file: bool = True
    ) -> None:
        self.file = file
        self.key = key
        self._has_file = has_file
        self._sealed = dict(sealed)

    @classmethod
    def open(cls, config_source: ConfigSource, settings: LocalSettings) -> Self:
        """Return the vault of these settings. It is empty if there is no file yet.

        Raise VaultError if the key is missing, if the vault or the key is damaged or open to every user, or if the
        vault was sealed under another key. Every secret is decrypted once, so that an open vault has no damaged secret.
        """
        file = config_source.path(settings.vault.file)
        keys = master_key.find_master_keys(config_source, settings)
        content = _read(file)
        if content is None:
            return cls(file, keys[0], {}, has_file=False)
        master_key.require_not_world_accessible(file)
        for key in keys:
            if key.id == content.master_key:
                vault = cls(file, key, content.secrets)
                for name in content.secrets:
                    vault.reveal(name)
                return vault
        raise VaultError(
            f"{file} is sealed under the master key {content.master_key}, and {keys[0].origin} holds {keys[0].id}",
            hint="bring back the key it was sealed under; without it no secret in the vault can be read again",
        )

    def reveal(self, name: str) -> SecretStr | None:
        """Return a secret, or None if it is not set. Raise VaultError if it cannot be decrypted."""
        sealed = self._sealed.get(name)
        return None if sealed is None else SecretStr(_unseal(self.key, name, sealed, self.file))

    def require(self, name: str) -> SecretStr:
        """Return a secret. Raise VaultError if it is not set or cannot be decrypted."""
        secret = self.reveal(name)
        if secret is None:
            self.require_file()
            raise missing_secret_error(name)
        return secret

    def require_file(self) -> None:
        """Raise SecretMissing if the vault was opened without a file: it may have been moved or lost."""
        if not self._has_file:
            raise SecretMissing(
                f"there is no vault {self.file} yet",
                hint="`forwarder keys set alloy-api-key` creates it; if there was one, bring it back, or correct"
                " [vault] file",
            )

    def digests(self) -> list[str]:
        """Return the digests of the admin token and the webhook token, as far as they are set."""
        return [found.get_secret_value() for name in DIGESTS if (found := self.reveal(name))]

    def suffix(self, name: str) -> str:
        """Return the last four characters of a secret, which may be shown.

        Return an empty text if it is not set, or is shorter than MIN_SUFFIXED_SECRET_CHARACTERS.
        """
        secret = self.reveal(name)
        value = secret.get_secret_value() if secret else ""
        return value[-SUFFIX_CHARACTERS:] if len(value) >= MIN_SUFFIXED_SECRET_CHARACTERS else ""

    def set_at(self, name: str) -> datetime | None:
        sealed = self._sealed.get(name)
        return None if sealed is None else sealed.set_at

    def set(self, name: str, value: str, now: datetime) -> None:
        self.change({name: value}, now)

    def remove(self, name: str) -> bool:
        """Remove a secret. Return whether it was set."""
        return name in self._sealed and bool(self.remove_all([name]))

    def change(self, values: Mapping[str, str], now: datetime, *, removed: Iterable[str] = ()) -> None:
        """Set and remove several secrets with one write: no crash leaves one part of an AWS key with a part of another.

        Raise VaultError if a value cannot be its secret, or if the file cannot be written.
        """
        for name, value in values.items():
            validate_secret(name, value)
        for name in removed:
            self._sealed.pop(name, None)
        self._sealed |= {name: _seal(self.key, name, value, now) for name, value in values.items()}
        self._write()

    def remove_all(self, names: Iterable[str]) -> Mapping[str, SealedSecret]:
        """Remove several secrets with one write, and return those that were set, for `restore`.

        The file is written even if there are none, so a vault that cannot be written raises VaultError.
        """
        removed = {name: sealed for name in names if (sealed := self._sealed.pop(name, None)) is not None}
        self._write()
        return removed

    def restore(self, removed: Mapping[str, SealedSecret]) -> None:
        """Write secrets again that `remove_all` returned."""
        self._sealed |= removed
        self._write()

    def reseal(self, key: MasterKey) -> None:
        """Write every secret again, under another master key."""
        self._sealed = {
            name: _seal(key, name, _unseal(self.key, name, sealed, self.file), sealed.set_at)
            for name, sealed in self._sealed.items()
        }
        self.key = key
        self._write()

    def warnings(self) -> list[str]:
        # The program that provides a credential sets its modes: systemd and Kubernetes open it to a group of our own.
        paths = [self.file, self.key.file] if self.key.file and self.key.mutable else [self.file]
        return [f"{path} is open to its group" for path in paths if master_key.is_open_to_group(path)]

    def _write(self) -> None:
        content = VaultFile(format=FORMAT, master_key=self.key.id, secrets=self._sealed)
        text = msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
        try:
            atomicfile.replace(self.file, text, mode=0o600)
            self._has_file = True
        except OSError as error:
            hint = atomicfile.write_hint(self.file)
            raise VaultError(f"{self.file} cannot be written: {error.strerror}", hint=hint) from None


_vault_files = msgspec.json.Decoder(VaultFile)


def _read(file: Path) -> VaultFile | None:
    """Return the content, or None if the file does not exist. Raise VaultError if it is not a readable vault."""
    try:
        data = atomicfile.read(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise VaultError(
            f"the vault {file} cannot be read: {error.strerror}", hint="correct [vault] file, or the file's permissions"
        ) from None
    content = decode_or_none(data, _vault_files)
    if content is None:
        if _is_before_0_2(data):
            hint = "move it away and set the keys again: vaults of versions before 0.2 are not read"
            raise VaultError(f"{file} is not a vault of this version", hint=hint)
        hint = "restore it from a backup; only without one move it away and set the keys again"
        raise VaultError(f"the vault {file} is damaged", hint=hint)
    if content.format > FORMAT:
        raise VaultError(f"{file} was written by a newer forwarder", hint="install that version or a later one")
    return content


def _is_before_0_2(data: bytes) -> bool:
    """Return whether the content has the keys of a vault before 0.2."""
    content = decode_or_none(data)
    return isinstance(content, dict) and {"format", "master_key", "sealed"} <= content.keys()


def _associated_data(name: str, set_at: datetime) -> bytes:
    return f"forwarder_vault {FORMAT}\0{name}\0{set_at.isoformat()}".encode(errors="replace")


def _seal(key: MasterKey, name: str, value: str, set_at: datetime) -> SealedSecret:
    nonce = secrets.token_bytes(NONCE_BYTES)
    box = nonce + AESGCM(key.key).encrypt(nonce, value.encode(), _associated_data(name, set_at))
    return SealedSecret(set_at=set_at, sealed=base64.b64encode(box).decode())


def _unseal(key: MasterKey, name: str, secret: SealedSecret, file: Path) -> str:
    """Return the secret. Raise VaultError if it, its name or its date was changed."""
    try:
        box = base64.b64decode(secret.sealed, validate=True)
        associated_data = _associated_data(name, secret.set_at)
        return AESGCM(key.key).decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], associated_data).decode()
    except (InvalidTag, ValueError, binascii.Error):
        raise VaultError(
            f"{name} in {file} cannot be decrypted: another program changed the vault",
            hint=f"set it again with `forwarder keys set {name}`",
        ) from None
