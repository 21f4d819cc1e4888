"""The login with the admin token, and the logout."""

import structlog
from aiohttp import web

from forwarder.log import audit
from forwarder.rate_limit import KeyedRateLimiter
from forwarder.settings import pasted
from forwarder.vault import WEB_TOKEN
from forwarder.web.client_address import Client
from forwarder.web.form_body import read_form
from forwarder.web.hosts import ALLOWED_HOSTS, local_path
from forwarder.web.middleware import NEXT_FIELD, SESSIONS, TOKEN_DIGESTS, cookie_name
from forwarder.web.rendering import SESSION, redirect_to, render_page
from forwarder.web.sessions import MAX_AGE_SECONDS, Session

log = structlog.get_logger("web")

LOGIN_BURST = 5
LOGIN_INTERVAL_SECONDS = 30.0
"""The limit of wrong tokens from one client: five at once, and then one in this time."""

SAME_SITE = "Lax"
"""With `Strict`, a link in a chat or a ticket ends at the login. Views change nothing, and changes need an origin."""

LOGIN_LIMITER = web.AppKey("login_limiter", KeyedRateLimiter)


async def show_login(request: web.Request) -> web.Response:
    next_path = local_path(request.query.get(NEXT_FIELD, ""))
    if SESSION in request:
        return redirect_to(next_path or "/")
    return _login_page(request, next_path)


async def log_in(request: web.Request) -> web.Response:
    """Start a session if the token is valid. Otherwise return the form again, and take from the limit of the client."""
    client = request.app[ALLOWED_HOSTS].client(request)
    caller = client.text
    limiter, digests = request.app[LOGIN_LIMITER], request.app[TOKEN_DIGESTS]
    reject_while_limited(limiter, client)
    try:
        form = await read_form(request)
    except web.HTTPException:  # a body that is no form
        limiter.take(client.key)
        raise
    next_path = local_path(form.get(NEXT_FIELD, ""))
    known = digests.get(WEB_TOKEN)
    if known is None or not digests.verify(WEB_TOKEN, pasted.trim(form.get("token", ""))):
        limiter.take(client.key)
        audit().warning("login rejected", caller=caller)
        return _login_page(request, next_path, status=web.HTTPUnauthorized.status_code, is_wrong=True)
    response = redirect_to(next_path or "/")
    session = start_session(request, response, known)
    audit().info("logged in", session=session.name, caller=caller)
    return response


def start_session(request: web.Request, response: web.StreamResponse, token_digest: str) -> Session:
    """Start a session of the token with this digest, and add its cookie to the response."""
    cookie, session = request.app[SESSIONS].create(token_digest)
    response.set_cookie(
        cookie_name(request),
        cookie,
        max_age=int(MAX_AGE_SECONDS),
        httponly=True,
        samesite=SAME_SITE,
        secure=request.app[ALLOWED_HOSTS].is_secure(request),
    )
    return session


async def log_out(request: web.Request) -> web.Response:
    name = cookie_name(request)
    request.app[SESSIONS].end(request.cookies.get(name, ""))
    response = web.HTTPSeeOther("/login")
    response.del_cookie(name, secure=request.app[ALLOWED_HOSTS].is_secure(request), httponly=True, samesite=SAME_SITE)
    raise response


def reject_while_limited(limiter: KeyedRateLimiter, client: Client) -> None:
    """Raise HTTPTooManyRequests if a client has made too many attempts that failed."""
    if wait := limiter.wait_seconds(client.key):
        log.debug("login rate limited", caller=client.text)  # the attempts before were logged
        raise web.HTTPTooManyRequests(
            reason=f"too many attempts: wait {wait:.0f} seconds", headers={"Retry-After": f"{wait:.0f}"}
        )


def _login_page(request: web.Request, next_path: str, *, status: int = 200, is_wrong: bool = False) -> web.Response:
    has_token = request.app[TOKEN_DIGESTS].get(WEB_TOKEN) is not None
    values = {"has_token": has_token, "is_wrong": is_wrong, "next_field": NEXT_FIELD, "next_path": next_path}
    return render_page(request, "login.html", status=status, **values)


ROUTES = [
    web.get("/login", show_login, name="login"),
    web.post("/login", log_in, name="login"),
    web.post("/logout", log_out, name="logout"),
]
