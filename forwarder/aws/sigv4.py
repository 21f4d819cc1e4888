"""The AWS Signature Version 4 for PutEvents.

Source: "Create a signed AWS API request" (AWS IAM). The signature is equal to the SDK's. The parts that
requests share are computed once for each second and each set of keys. The module does no I/O and reads no clock.
"""

import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

SERVICE = "events"
ALGORITHM = "AWS4-HMAC-SHA256"
CONTENT_TYPE = "application/x-amz-json-1.1"
TARGET = "AWSEvents.PutEvents"


class FrozenKeys(Protocol):
    """An immutable set of AWS keys, as the SDK's credentials return it."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


@dataclass(frozen=True, slots=True, repr=False)  # a repr would show the keys
class _SigningContext:
    """The parts of a signature that all requests of one second with the same keys share."""

    at: int
    keys: FrozenKeys
    headers: Mapping[str, str]
    canonical: str
    to_sign: str
    authorization: str
    signing_key: bytes


class Signer:
    """A signer of PutEvents requests to one URL. The SDK's signer computes the canonical form of the URL."""

    def __init__(self, url: str, region: str) -> None:
        request, sdk = AWSRequest("POST", url), SigV4Auth(None, SERVICE, region)
        method, path, query, *_ = sdk.canonical_request(request).split("\n")
        self._start = f"{method}\n{path}\n{query}\n"
        self._host = str(sdk.headers_to_sign(request)["host"])
        self._region = region
        self._context: _SigningContext | None = None

    def headers(self, keys: FrozenKeys, body: bytes, at: int) -> dict[str, str]:
        """Return the signed headers of a request, with the signature. `at` is in seconds since 1970."""
        context = self._context
        if context is None or context.at != at or context.keys != keys:
            context = self._context = self._signing_context(keys, at)
        canonical = f"{context.canonical}{sha256(body).hexdigest()}"
        to_sign = f"{context.to_sign}{sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(context.signing_key, to_sign.encode(), "sha256").hex()
        return {**context.headers, "authorization": f"{context.authorization}{signature}"}

    def _signing_context(self, keys: FrozenKeys, at: int) -> _SigningContext:
        timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        scope = f"{timestamp[:8]}/{self._region}/{SERVICE}/aws4_request"
        headers = {"content-type": CONTENT_TYPE, "host": self._host, "x-amz-date": timestamp}
        if keys.token:
            headers["x-amz-security-token"] = keys.token
        headers["x-amz-target"] = TARGET
        names = ";".join(headers)
        lines = "".join(f"{name}:{' '.join(value.split())}\n" for name, value in headers.items())
        return _SigningContext(
            at=at,
            keys=keys,
            headers=headers,
            canonical=f"{self._start}{lines}\n{names}\n",
            to_sign=f"{ALGORITHM}\n{timestamp}\n{scope}\n",
            authorization=f"{ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature=",
            signing_key=self._signing_key(keys.secret_key, timestamp[:8]),
        )

    def _signing_key(self, secret: str, day: str) -> bytes:
        key = f"AWS4{secret}".encode()
        for scope_part in (day, self._region, SERVICE, "aws4_request"):
            key = hmac.digest(key, scope_part.encode(), "sha256")
        return key
