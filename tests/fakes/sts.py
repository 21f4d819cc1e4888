"""The responses of AWS STS in the query protocol: the caller's identity, and assumed roles."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from xml.sax.saxutils import escape

from tests.fakes.actions import HttpResponse
from tests.fakes.signing import Key

NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"
XML: Final = {"Content-Type": "text/xml"}
MIN_SESSION_SECONDS: Final = 900
DEFAULT_SESSION_SECONDS: Final = 3600


def caller_identity(key: Key, account: str) -> HttpResponse:
    """Return the identity of a key, which needs no permission."""
    return result(
        "GetCallerIdentity",
        f"<Arn>{escape(key.arn)}</Arn><UserId>{key.id}</UserId><Account>{account}</Account>",
    )


def role_key(role_arn: str, session: str, seconds: int, *, number: int, now: datetime) -> Key:
    """Return the temporary key of a role's session."""
    account, _, name = role_arn.removeprefix("arn:aws:iam::").partition(":role/")
    return Key(
        id=f"ASIAPLANTED{number:09}",
        secret=f"planted/session+secret/{number:04}",
        token=f"planted-session-token-{number:04}//==",
        expires_at=now + timedelta(seconds=seconds),
        arn=f"arn:aws:sts::{account}:assumed-role/{name}/{session}",
    )


def assumed_role(key: Key, action: str = "AssumeRole") -> HttpResponse:
    credentials = (
        f"<AccessKeyId>{key.id}</AccessKeyId><SecretAccessKey>{key.secret}</SecretAccessKey>"
        f"<SessionToken>{key.token}</SessionToken><Expiration>{key.expires_at:%Y-%m-%dT%H:%M:%SZ}</Expiration>"
    )
    user = f"<AssumedRoleId>AROAPLANTED:x</AssumedRoleId><Arn>{escape(key.arn)}</Arn>"
    return result(action, f"<Credentials>{credentials}</Credentials><AssumedRoleUser>{user}</AssumedRoleUser>")


def result(action: str, content: str) -> HttpResponse:
    result = f"<{action}Result>{content}</{action}Result>"
    document = result + "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>"
    return HttpResponse(200, XML, f'<{action}Response xmlns="{NAMESPACE}">{document}</{action}Response>'.encode())


def error(status: int, code: str, message: str) -> HttpResponse:
    content = f"<Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message>"
    document = f"<Error>{content}</Error><RequestId>r</RequestId>"
    return HttpResponse(status, XML, f'<ErrorResponse xmlns="{NAMESPACE}">{document}</ErrorResponse>'.encode())
