"""The webhook: Alloy's real-time error callback. It makes the feeds of the named workflow due now.

The content of a request is not trusted: the failed execution is read from the logs API. The worst that a caller with
the token can do is to trigger polls of configured feeds, within the share that the scheduler allows for triggers.
"""

from collections.abc import Iterator
from typing import Self

import msgspec
import structlog
from aiohttp import web
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from forwarder.errors import SettingsError
from forwarder.model import is_id
from forwarder.rate_limit import RateLimiter
from forwarder.settings import ConfigSource
from forwarder.untrusted_json import JSON_ERRORS, decode_or_none
from forwarder.vault import WEBHOOK_TOKEN
from forwarder.web.context import CONTEXT
from forwarder.web.file_reload import ReloadingValue
from forwarder.web.hosts import ALLOWED_HOSTS
from forwarder.web.middleware import TOKEN_DIGESTS

SIGNATURE_HEADER = "X-Alloy-Signature"

log = structlog.get_logger("web")

WEBHOOK_BURST = 100
WEBHOOK_INTERVAL_SECONDS = 0.02
"""The limit of requests: a hundred at once, and fifty a second."""


class SignatureVerifier:
    """A verifier of signatures: RSA-SHA256 (PKCS #1 v1.5), in hex, over method, URL and body without separators.

    Alloy signs the body as JavaScript serializes it. Both the body as received and its compact JSON are accepted.
    """

    def __init__(self, key: RSAPublicKey) -> None:
        self._key = key

    @classmethod
    def of(cls, config_source: ConfigSource, file: str) -> Self:
        """Read the public key. Raise SettingsError if it cannot be used."""
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


WEBHOOK_LIMITER = web.AppKey("webhook_limiter", RateLimiter)
SIGNATURE_VERIFIER = web.AppKey("signature_verifier", ReloadingValue[SignatureVerifier])
"""The verifier of signatures. It is set only if a public key is configured."""


class _WebhookBody(msgspec.Struct, rename="camel"):
    """The fields of a body that are used."""

    workflow_id: str | None = None
    user_id: str | None = None


_body_decoder = msgspec.json.Decoder(_WebhookBody)


async def receive_webhook(request: web.Request) -> web.Response:
    """Make the feeds of the workflow in the request due now.

    Return 202 if there are any, else 204. Raise HTTPNotFound for a wrong token, HTTPTooManyRequests over the limit, and
    HTTPUnauthorized without a valid signature.
    """
    if not request.app[TOKEN_DIGESTS].verify(WEBHOOK_TOKEN, request.match_info["token"]):
        raise web.HTTPNotFound
    limiter = request.app[WEBHOOK_LIMITER]
    if limiter.wait_seconds:
        raise web.HTTPTooManyRequests(headers={"Retry-After": "1"})
    limiter.take()
    body = await request.read()
    _require_signature(request, body)
    workflow_id, user_id = _ids(request, body)
    feeds = request.app[CONTEXT].trigger(workflow_id, user_id) if is_id(workflow_id) else 0
    log.debug("poll triggered", feeds=feeds)
    return web.Response(status=web.HTTPAccepted.status_code if feeds else web.HTTPNoContent.status_code)


def _require_signature(request: web.Request, body: bytes) -> None:
    verifier = request.app.get(SIGNATURE_VERIFIER)
    if verifier is None:
        return
    address = request.app[ALLOWED_HOSTS].requested_url(request)
    if not verifier.current.verify(request.headers.get(SIGNATURE_HEADER, ""), request.method, address, body):
        raise web.HTTPUnauthorized(reason="not signed with the configured key")


def _ids(request: web.Request, body: bytes) -> tuple[str, str | None]:
    """Return the ids of workflow and user, each from the body if it is there, else from a header.

    The body comes first, because only the body may be signed. The first id is empty, and the second one None, if it
    is missing.
    """
    parsed = decode_or_none(body, _body_decoder) or _WebhookBody()
    workflow_id = parsed.workflow_id or _header(request, "X-Alloy-WorkflowId")
    return workflow_id, parsed.user_id or _header(request, "X-Alloy-UserId") or None


def _header(request: web.Request, name: str) -> str:
    """Return a header as text. Bytes that are no UTF-8 are replaced."""
    return request.headers.get(name, "").encode(errors="replace").decode()


ROUTES = [web.post("/hooks/alloy/{token}", receive_webhook, name="webhook")]
