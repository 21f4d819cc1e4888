"""What Alloy signs: RSA-SHA256, in hex, over the method, the address it calls and the JSON it sends.

The vendor signs what JavaScript makes of the body. It is tried as it came, and as JSON without spaces.
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
from forwarder.settings import Place

HEADER = "X-Alloy-Signature"


class Signatures:
    """Made with the private half of one key."""

    def __init__(self, key: RSAPublicKey) -> None:
        self._key = key

    @classmethod
    def of(cls, place: Place, file: str) -> Self:
        """Raises SettingsError."""
        path = place.path(file)
        try:
            if path.exists() and not path.is_file():  # opening a pipe would wait for its other end
                raise SettingsError(f"web.alloy_public_key {path} cannot be used: it is no file")
            key = load_pem_public_key(path.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no PEM file of a public key"
            raise SettingsError(f"web.alloy_public_key {path} cannot be used: {why}") from None
        if not isinstance(key, RSAPublicKey):
            raise SettingsError(f"web.alloy_public_key {path} is not an RSA key")
        return cls(key)

    def match(self, signature: str, method: str, address: str, body: bytes) -> bool:
        try:
            given = bytes.fromhex(signature)
        except ValueError:
            return False
        # A request may hold bytes that are no UTF-8: they are signed as they came.
        called = f"{method}{address}".encode(errors="surrogateescape")
        return any(self._is_of(given, called + form) for form in _forms(body))

    def _is_of(self, signature: bytes, message: bytes) -> bool:
        try:
            self._key.verify(signature, message, PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return True


def _forms(body: bytes) -> Iterator[bytes]:
    yield body
    try:
        yield msgspec.json.encode(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
