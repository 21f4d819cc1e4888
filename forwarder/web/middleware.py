"""The middlewares: access control, and the headers of every response.

A route needs a session unless it is listed here as public. A change has to come from this page besides: browsers name
the origin of every change, and send the cookie with no request from another site but a link that a person follows
(SameSite=Lax). A form that is sent twice has the same result as one that is sent once.
"""

from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from forwarder.log import audit
from forwarder.vault import WEB_TOKEN
from forwarder.web.connection import peer_address, track_connection
from forwarder.web.form_body import read_body, read_form
from forwarder.web.hosts import ALLOWED_HOSTS, local_path
from forwarder.web.rendering import RENDERER, SESSION, render_page
from forwarder.web.request_errors import PROBLEMS
from forwarder.web.response_headers import add_headers
from forwarder.web.sessions import Session, Sessions
from forwarder.web.tokens import TokenDigests

PUBLIC_ROUTES = frozenset({"login", "setup", "static", "livez", "startupz", "readyz", "metrics", "webhook"})
"""Routes that need no session. The webhook and the set-up have tokens of their own."""

MACHINE_ROUTES = frozenset({"livez", "startupz", "readyz", "metrics", "webhook"})
"""Routes of clients that are not browsers, and send no origin."""

BACKGROUND_ROUTES = frozenset({"stream", "sections", "contact", "headline"})
"""Routes that a page requests without an action of a person. They do not reset the idle time of the session."""

SAFE_METHODS = frozenset({"GET", "HEAD"})

NEXT_FIELD = "next"
"""The parameter of the login with the path to go to after it."""

MAX_BODY_BYTES = 64 * 1024

SETTINGS_FORM_ROUTES = frozenset({"save", "check", "test", "workflow-list"})
MAX_SETTINGS_FORM_BYTES = 2 * 1024 * 1024
"""The routes of the form with the list of workflows, and its limit. It is read with a session only."""

SESSIONS = web.AppKey("sessions", Sessions)
TOKEN_DIGESTS = web.AppKey("token_digests", TokenDigests)

CHANGED_FIELDS = web.RequestKey("changed_fields", tuple[str, ...])
"""The names of the changed fields, which the handler of a change sets for the audit line. It holds no value."""


def max_body_bytes(route: str) -> int:
    """Return the limit of a request's body."""
    return MAX_SETTINGS_FORM_BYTES if route in SETTINGS_FORM_ROUTES else MAX_BODY_BYTES


def cookie_name(request: web.Request) -> str:
    """Return the name of the session cookie. With TLS it has the prefix that keeps other hosts from setting it.

    Browsers send a cookie to every port of its host, so the port is in the name: another forwarder has its own cookie.
    """
    hosts = request.app[ALLOWED_HOSTS]
    name = "__Host-forwarder" if hosts.is_secure(request) else "forwarder"
    port = hosts.port_of_url(request)
    return f"{name}-{port}" if port else name


async def add_response_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that every response has, streams included."""
    add_headers(response)


@web.middleware
async def render_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Render every error as a page. An internal error is described in the log only."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < web.HTTPBadRequest.status_code:
            raise
        response = _error_response(request, error.status, error.reason)
        response.headers.extend(
            {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
        )
        return response
    except ConnectionError:  # the client has gone
        raise
    except Exception as error:  # noqa: BLE001  # an internal error ends one request, and is logged
        request.app[PROBLEMS].report_internal_error(error, peer_address(request.transport), route=_route(request))
        return _error_response(
            request, web.HTTPInternalServerError.status_code, "internal error: see the log of the forwarder"
        )


@web.middleware
async def check_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Reject requests that another site makes a browser send, by DNS rebinding or across origins."""
    allowed_hosts = request.app[ALLOWED_HOSTS]
    if not allowed_hosts.is_peer_allowed(request):
        raise web.HTTPForbidden(reason="connect through the proxy")
    if not request.raw_path.startswith("/"):
        raise web.HTTPBadRequest(reason="the address of a request begins with a slash")
    host = request.headers.get("Host", "")
    if not allowed_hosts.is_host(host):
        raise web.HTTPMisdirectedRequest(reason="not an address of this page: see [web] public_url")
    origin = ", ".join(request.headers.getall("Origin", [])) if "Origin" in request.headers else None
    is_machine = _route(request) in MACHINE_ROUTES
    may_be_missing = request.method in SAFE_METHODS or is_machine
    if not (may_be_missing if origin is None else allowed_hosts.is_origin(origin, host)):
        raise web.HTTPForbidden(reason="the request came from another page")
    if (request.content_length or 0) > max_body_bytes(_route(request)):
        raise web.HTTPRequestEntityTooLarge(max_body_bytes(_route(request)), request.content_length or 0)
    return await handler(request)


@web.middleware
async def check_session(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let requests with a session, or to a public route, pass. Redirect others to the login page, or refuse them."""
    session = _find_session(request, use=_route(request) not in BACKGROUND_ROUTES)
    if session is not None:
        request[SESSION] = session
        if _route(request) in SETTINGS_FORM_ROUTES:
            request = request.clone(client_max_size=MAX_SETTINGS_FORM_BYTES)
        return await handler(request)
    if _route(request) in PUBLIC_ROUTES:
        return await handler(request)
    if request.method in SAFE_METHODS:
        raise web.HTTPSeeOther(_login_path(request))
    raise web.HTTPUnauthorized(reason="the session is over, and nothing was changed: log in again")


@web.middleware
async def audit_changes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Reject an invalid form, and log each change by a person, even if it fails."""
    if request.method in SAFE_METHODS or _route(request) in PUBLIC_ROUTES:
        return await handler(request)
    await read_form(request)
    status = web.HTTPInternalServerError.status_code
    try:
        response = await handler(request)
        status = response.status
    except web.HTTPException as error:
        status = error.status
        raise
    finally:
        audit().info(
            "changed in web UI",
            route=_route(request),
            fields=list(request.get(CHANGED_FIELDS, ())),
            session=request[SESSION].name,
            caller=request.app[ALLOWED_HOSTS].caller(request),
            status=status,
        )
    return response


MIDDLEWARES: Sequence[Middleware] = (
    track_connection,
    render_errors,
    check_origin,
    check_session,
    read_body,
    audit_changes,
)
"""The middlewares of the web UI, outermost first."""

HEALTH_MIDDLEWARES: Sequence[Middleware] = (track_connection, render_errors)


def is_session_alive(request: web.Request) -> bool:
    """Return whether the session of a long response is still valid. This does not reset its idle time."""
    return _find_session(request, use=False) is not None


def _find_session(request: web.Request, *, use: bool = True) -> Session | None:
    token = request.app[TOKEN_DIGESTS].get(WEB_TOKEN)
    return request.app[SESSIONS].find(request.cookies.get(cookie_name(request), ""), token, use=use)


def _login_path(request: web.Request) -> str:
    """Return the path of the login, with the path to go to after it."""
    is_known = request.match_info.http_exception is None
    is_page = is_known and _route(request) not in BACKGROUND_ROUTES and request.raw_path != "/"
    path = local_path(request.raw_path) if is_page else ""
    return f"/login?{urlencode({NEXT_FIELD: path})}" if path else "/login"


def _route(request: web.Request) -> str:
    return request.match_info.route.name or ""


def _error_response(request: web.Request, status: int, reason: str) -> web.Response:
    if _route(request) in MACHINE_ROUTES or RENDERER not in request.app:
        return web.Response(text=f"{reason}\n", status=status)
    heading = "Not done"
    if status == HTTPStatus.NOT_FOUND:
        is_unknown_address = reason == HTTPStatus.NOT_FOUND.phrase
        heading = "There is no such page" if is_unknown_address else "Not found"
        reason = "no page has this address" if is_unknown_address else reason
    return render_page(request, "error.html", status=status, heading=heading, reason=reason)
