"""The endpoints of AWS credentials on loopback: of containers, of instances and of web identities."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from tests.fakes import sts
from tests.fakes.actions import Hang, HttpResponse
from tests.fakes.wire import WireServer, utc_now

if TYPE_CHECKING:
    from tests.fakes.actions import Action
    from tests.fakes.signing import Key
    from tests.fakes.wire import Request

JSON: Final = {"Content-Type": "application/json"}
ROLES: Final = "/latest/meta-data/iam/security-credentials/"


def answer(content: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(status, JSON, json.dumps(content).encode())


def credentials(key: Key) -> dict[str, Any]:
    """Return credentials in the format of a container's endpoint and of an instance's metadata."""
    expires = utc_now() + timedelta(hours=6)
    return {
        "Code": "Success",
        "Type": "AWS-HMAC",
        "AccessKeyId": key.id,
        "SecretAccessKey": key.secret,
        "Token": key.token,
        "Expiration": f"{expires:%Y-%m-%dT%H:%M:%SZ}",
    }


def always(action: Action) -> WireServer:
    """Return a server that answers every request with the same action."""
    return WireServer(lambda _: action)


def metadata(roles: HttpResponse, given: HttpResponse) -> WireServer:
    """Return the metadata server of an instance (version 2), with a token, the name of a role, and its credentials."""

    def handle(request: Request) -> Action:
        if request.path == "/latest/api/token":
            return HttpResponse(200, {}, b"planted-metadata-token")
        if request.headers.get("x-aws-ec2-metadata-token") != "planted-metadata-token":
            return HttpResponse(401)
        return roles if request.path == ROLES else given

    return WireServer(handle)


def web_identities(tokens: dict[str, Key | HttpResponse]) -> WireServer:
    """Return an STS that answers each of these tokens with a session of a role or with an error."""

    def handle(request: Request) -> Action:
        parameters = dict(parse_qsl(request.body.decode()))
        session = tokens.get(parameters.get("WebIdentityToken", ""))
        if session is None:
            return sts.error(400, "InvalidIdentityToken", "No OpenIDConnect provider found in your account")
        return session if isinstance(session, HttpResponse) else sts.assumed_role(session, "AssumeRoleWithWebIdentity")

    return WireServer(handle)


def silence() -> WireServer:
    """Return a server that accepts requests and never responds."""
    return always(Hang(60))
