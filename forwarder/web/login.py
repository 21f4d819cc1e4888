"""Logging in with the admin token, and out."""

import structlog
from aiohttp import web

from forwarder.log import audit
from forwarder.settings import pasted
from forwarder.vault import WEB_TOKEN
from forwarder.web.allowance import Allowance
from forwarder.web.form_body import read_form
from forwarder.web.guard import DIGESTS, SESSIONS, cookie_name
from forwarder.web.names import NAMES
from forwarder.web.pages import SESSION, page
from forwarder.web.sessions import LONGEST

log = structlog.get_logger("web")

BURST = 5
EVERY = 30.0
"""Seconds: five wrong tokens at once from one address, and then one in this time."""

LOGINS = web.AppKey("logins", Allowance)


async def show(request: web.Request) -> web.Response:
    if SESSION in request:
        raise web.HTTPSeeOther("/")
    return _form(request)


async def log_in(request: web.Request) -> web.Response:
    client = request.app[NAMES].client(request)
    caller = client.text
    logins, digests = request.app[LOGINS], request.app[DIGESTS]
    if wait := logins.wait(client.key):
        log.debug("login refused: too many tries", caller=caller)  # those that were tried stand in the log
        raise web.HTTPTooManyRequests(
            reason=f"too many tries: wait {wait:.0f} seconds", headers={"Retry-After": f"{wait:.0f}"}
        )
    try:
        token = (await read_form(request)).get("token", "")
    except web.HTTPException:  # a body that is no form
        logins.spend(client.key)
        raise
    known = digests.get(WEB_TOKEN)
    if known is None or not digests.opens(WEB_TOKEN, pasted.trimmed(token)):
        logins.spend(client.key)
        audit().warning("login refused", caller=caller)
        return _form(request, status=web.HTTPUnauthorized.status_code, wrong=True)
    cookie, session = request.app[SESSIONS].begin(known)
    audit().info("logged in", session=session.name, caller=caller)
    answer = web.HTTPSeeOther("/")
    answer.set_cookie(
        cookie_name(request),
        cookie,
        max_age=int(LONGEST),
        httponly=True,
        samesite="Strict",
        secure=request.app[NAMES].is_secure(request),
    )
    raise answer


async def log_out(request: web.Request) -> web.Response:
    name = cookie_name(request)
    request.app[SESSIONS].end(request.cookies.get(name, ""))
    answer = web.HTTPSeeOther("/login")
    answer.del_cookie(name, secure=request.app[NAMES].is_secure(request), httponly=True, samesite="Strict")
    raise answer


def _form(request: web.Request, *, status: int = 200, wrong: bool = False) -> web.Response:
    has_token = request.app[DIGESTS].get(WEB_TOKEN) is not None
    return page(request, "login.html", status=status, has_token=has_token, wrong=wrong)


ROUTES = [
    web.get("/login", show, name="login"),
    web.post("/login", log_in, name="login"),
    web.post("/logout", log_out, name="logout"),
]
