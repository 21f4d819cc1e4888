"""The verification of AWS Signature Version 4, computed with botocore's signer.

The codes and messages are AWS's. The JSON services and STS have different names for the same refusals. AWS does not
document which of them EventBridge sends with 400 and which with 403, so that clients must use the code.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes.wire import Request

STAMP: Final = "%Y%m%dT%H%M%SZ"
SKEW: Final = timedelta(minutes=5)
AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request,"
    r" ?SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
MISMATCH: Final = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret"
    " Access Key and signing method. Consult the service documentation for details."
)


@dataclass(frozen=True)
class Key:
    """An access key of a user, or of a role with a token and an expiry."""

    id: str
    secret: str
    token: str | None = None
    expires_at: datetime | None = None
    arn: str = "arn:aws:iam::123456789012:user/forwarder"


class SignatureFault(Enum):
    """The reasons to refuse a signature, each with status and code of the JSON services, then of STS."""

    MISSING = 403, "MissingAuthenticationTokenException", 403, "MissingAuthenticationToken"
    INCOMPLETE = 400, "IncompleteSignatureException", 400, "IncompleteSignature"
    UNKNOWN_KEY = 400, "UnrecognizedClientException", 403, "InvalidClientTokenId"
    EXPIRED_TOKEN = 400, "ExpiredTokenException", 403, "ExpiredToken"
    SIGNATURE = 403, "InvalidSignatureException", 403, "SignatureDoesNotMatch"


class SignatureError(Exception):
    def __init__(self, reason: SignatureFault, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


def verify(request: Request, keys: Mapping[str, Key], *, service: str, region: str | None, now: datetime) -> Key:
    """Return the key of the request. Raise SignatureError if AWS would refuse it. `region` None accepts every scope."""
    if not (header := request.headers.get("authorization")):
        raise SignatureError(SignatureFault.MISSING, "Missing Authentication Token")
    if not (found := AUTHORIZATION.fullmatch(header)) or "x-amz-date" not in request.headers:
        raise SignatureError(
            SignatureFault.INCOMPLETE, "Authorization header requires existence of X-Amz-Date and a signature."
        )
    if (key := keys.get(found["key"])) is None or request.headers.get("x-amz-security-token") != key.token:
        raise SignatureError(SignatureFault.UNKNOWN_KEY, "The security token included in the request is invalid.")
    if key.expires_at is not None and key.expires_at <= now:
        raise SignatureError(SignatureFault.EXPIRED_TOKEN, "The security token included in the request is expired")
    if found["service"] != service or region not in {None, found["region"]}:
        raise SignatureError(
            SignatureFault.SIGNATURE, "Credential should be scoped to a valid region and the correct service."
        )
    check_date(request.headers["x-amz-date"], now)
    if not hmac.compare_digest(found["signature"], signature(request, key, found)):
        raise SignatureError(SignatureFault.SIGNATURE, MISMATCH)
    return key


def signature(request: Request, key: Key, scope: re.Match[str]) -> str:
    """Return the expected signature of the request, for its date and its scope."""
    url = f"http://{request.headers['host']}{request.target}"
    signed = {name: request.headers.get(name, "") for name in scope["headers"].split(";")}
    copy = AWSRequest(request.method, url, headers=signed, data=request.body)
    copy.context["timestamp"] = request.headers["x-amz-date"]
    signer = SigV4Auth(Credentials(key.id, key.secret, key.token), scope["service"], scope["region"])
    return str(signer.signature(signer.string_to_sign(copy, signer.canonical_request(copy)), copy))


def check_date(stamp: str, now: datetime) -> None:
    signed = datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    if signed < now - SKEW:
        limit, relation, sign = now - SKEW, "expired: {} is now earlier than", "-"
    elif signed > now + SKEW:
        limit, relation, sign = now + SKEW, "not yet current: {} is still later than", "+"
    else:
        return
    message = f"Signature {relation.format(stamp)} {limit:{STAMP}} ({now:{STAMP}} {sign} 5 min.)"
    raise SignatureError(SignatureFault.SIGNATURE, message)
