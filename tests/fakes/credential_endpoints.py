"""The endpoints that hand out AWS credentials: of containers, of instances and of web identities, on loopback."""

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
    """As the endpoint of a container and the metadata of an instance give them."""
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
    """A server that answers everything with the same action."""
    return WireServer(lambda _: action)


def metadata(roles: HttpResponse, given: HttpResponse) -> WireServer:
    """The metadata of an instance (version 2): a token, the name of its role, the credentials of that role."""

    def handle(request: Request) -> Action:
        if request.path == "/latest/api/token":
            return HttpResponse(200, {}, b"planted-metadata-token")
        if request.headers.get("x-aws-ec2-metadata-token") != "planted-metadata-token":
            return HttpResponse(401)
        return roles if request.path == ROLES else given

    return WireServer(handle)


def web_identities(tokens: dict[str, Key | HttpResponse]) -> WireServer:
    """An STS that knows these tokens, and answers each with a session of a role or with an error."""

    def handle(request: Request) -> Action:
        parameters = dict(parse_qsl(request.body.decode()))
        session = tokens.get(parameters.get("WebIdentityToken", ""))
        if session is None:
            return sts.error(400, "InvalidIdentityToken", "No OpenIDConnect provider found in your account")
        return session if isinstance(session, HttpResponse) else sts.assumed_role(session, "AssumeRoleWithWebIdentity")

    return WireServer(handle)


def silence() -> WireServer:
    """A server that takes requests and never answers."""
    return always(Hang(60))
