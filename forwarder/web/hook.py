"""The nudge: Alloy's real-time error callback. It makes the named workflow due now, and that is all it can do.

Its word is not taken for anything: which execution failed and how is read from the logs API. So the worst that a caller
with the token can do is to have workflows read that are read anyway, within the share that `Schedule` allows for it.
"""

import msgspec
import structlog
from aiohttp import web

from forwarder.model import is_id
from forwarder.vault import HOOK_TOKEN
from forwarder.web.allowance import Allowance
from forwarder.web.desk import DESK
from forwarder.web.guard import DIGESTS
from forwarder.web.names import NAMES
from forwarder.web.renewal import Renewed
from forwarder.web.signature import HEADER, Signatures

log = structlog.get_logger("web")

BURST = 100
EVERY = 0.02
"""Seconds: a hundred nudges at once, and fifty a second."""

HOOK_CALLS = web.AppKey("hook_calls", Allowance)
SIGNATURES = web.AppKey("signatures", Renewed[Signatures])
"""Only where a public key is configured."""


class _Named(msgspec.Struct, rename="camel"):
    """All that is looked at of a body."""

    workflow_id: str | None = None
    user_id: str | None = None


_named = msgspec.json.Decoder(_Named)


async def nudge(request: web.Request) -> web.Response:
    """202 where a workflow is read for it, 204 where it is none that is watched now, 401 without its signature."""
    if not request.app[DIGESTS].opens(HOOK_TOKEN, request.match_info["token"]):
        raise web.HTTPNotFound
    calls = request.app[HOOK_CALLS]
    if calls.wait(HOOK_TOKEN):
        raise web.HTTPTooManyRequests(headers={"Retry-After": "1"})
    calls.spend(HOOK_TOKEN)
    body = await request.read()
    _require_signature(request, body)
    workflow_id, user_id = _ids(request, body)
    feeds = request.app[DESK].nudge(workflow_id, user_id) if is_id(workflow_id) else 0
    log.debug("nudged", feeds=feeds)
    return web.Response(status=web.HTTPAccepted.status_code if feeds else web.HTTPNoContent.status_code)


def _require_signature(request: web.Request, body: bytes) -> None:
    signatures = request.app.get(SIGNATURES)
    if signatures is None:
        return
    address = request.app[NAMES].called(request)
    if not signatures.current.match(request.headers.get(HEADER, ""), request.method, address, body):
        raise web.HTTPUnauthorized(reason="not signed with the configured key")


def _ids(request: web.Request, body: bytes) -> tuple[str, str | None]:
    """Of the workflow and the user: as the body says, which may be signed, else the headers."""
    try:
        named = _named.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        named = _Named()
    workflow_id = named.workflow_id or _header(request, "X-Alloy-WorkflowId")
    return workflow_id, named.user_id or _header(request, "X-Alloy-UserId") or None


def _header(request: web.Request, name: str) -> str:
    """Return a header as text. Bytes that are no UTF-8 are replaced."""
    return request.headers.get(name, "").encode(errors="replace").decode()


ROUTES = [web.post("/hooks/alloy/{token}", nudge, name="nudge")]
