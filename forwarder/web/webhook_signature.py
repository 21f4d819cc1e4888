"""The signature of Alloy's webhook: RSA-SHA256, in hex, over the method, the URL and the JSON body.

The vendor signs the body as JavaScript serializes it. Both the body as received and its compact JSON are accepted.
"""

from collections.abc import Iterator
from typing import Self

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from forwarder.errors import SettingsError
from forwarder.settings import ConfigSource
from forwarder.untrusted_json import JSON_ERRORS

SIGNATURE_HEADER = "X-Alloy-Signature"


class SignatureVerifier:
    """A verifier of signatures made with one private key."""

    def __init__(self, key: RSAPublicKey) -> None:
        self._key = key

    @classmethod
    def of(cls, config_source: ConfigSource, file: str) -> Self:
        """Read the public key. Raises SettingsError."""
        path = config_source.path(file)
        try:
            if path.exists() and not path.is_file():  # opening a pipe would wait for its other end
                raise SettingsError(f"web.alloy_public_key {path} cannot be used: it is no file")
            key = load_pem_public_key(path.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no PEM file of a public key"
            raise SettingsError(f"web.alloy_public_key {path} cannot be used: {reason}") from None
        if not isinstance(key, RSAPublicKey):
            raise SettingsError(f"web.alloy_public_key {path} is not an RSA key")
        return cls(key)

    def verify(self, signature: str, method: str, address: str, body: bytes) -> bool:
        """Return whether the request was signed with the key."""
        try:
            given = bytes.fromhex(signature)
        except ValueError:
            return False
        # A request may hold bytes that are no UTF-8: they are signed as they came.
        prefix = f"{method}{address}".encode(errors="surrogateescape")
        return any(self._is_valid(given, prefix + candidate) for candidate in _candidate_bodies(body))

    def _is_valid(self, signature: bytes, message: bytes) -> bool:
        try:
            self._key.verify(signature, message, PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return True


def _candidate_bodies(body: bytes) -> Iterator[bytes]:
    yield body
    try:
        yield msgspec.json.encode(msgspec.json.decode(body))
    except JSON_ERRORS:
        return
