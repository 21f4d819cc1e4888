"""What stands before every handler: who may come in, from where, and what each answer tells the browser.

Closed unless named open here: a route that is added needs a session, and a form token for a change.
"""

from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from forwarder.log import audit
from forwarder.vault import WEB_TOKEN
from forwarder.web.connection import add_headers, peer_address, track_connection
from forwarder.web.form_body import read_body, read_form
from forwarder.web.names import NAMES
from forwarder.web.pages import FORM_TOKEN, PAGES, SESSION, page
from forwarder.web.request_errors import PROBLEMS
from forwarder.web.sessions import Session, Sessions
from forwarder.web.tokens import Digests

OPEN = frozenset({"login", "static", "livez", "readyz", "metrics", "nudge"})
"""Routes that need no session. Of these, `nudge` has a token of its own."""

FOR_MACHINES = frozenset({"livez", "readyz", "metrics", "nudge"})
"""Callers that are no browser, and name no origin."""

BY_ITSELF = frozenset({"stream"})
"""Routes that a page asks for by itself: nobody need be there for that."""

SAFE = frozenset({"GET", "HEAD"})

LARGEST_BODY = 64 * 1024

SENT_BEFORE = "this form was sent twice, and the first time counts: load its page again to see what is stored"
"""After a double click a browser shows the response to the second request alone."""

TOO_OLD = "this form is from another session: load its page again"

SESSIONS = web.AppKey("sessions", Sessions)
DIGESTS = web.AppKey("digests", Digests)

CHANGED = web.RequestKey("changed", tuple[str, ...])
"""Set by the handler of a change: the fields it changed, for the audit line. Never a value."""


def cookie_name(request: web.Request) -> str:
    """Under TLS with the prefix that keeps other hosts and paths from setting it."""
    return "__Host-forwarder" if request.app[NAMES].is_secure(request) else "forwarder"


async def sign_response(_request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that every response has, streams included."""
    add_headers(response)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal is a page that a person can read; a fault of ours tells nothing of itself but in the log."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < web.HTTPBadRequest.status_code:
            raise
        answer = _refusal(request, error.status, error.reason)
        answer.headers.extend({name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers})
        return answer
    except ConnectionError:  # whoever asked has gone away
        raise
    except Exception as error:  # noqa: BLE001  # a fault of ours ends one request; the log has it
        request.app[PROBLEMS].report_fault(error, peer_address(request.transport), route=_route(request))
        return _refusal(request, web.HTTPInternalServerError.status_code, "the forwarder failed here; its log says why")


@web.middleware
async def check_caller(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A stranger's page can make a browser call us, under a name that leads here or across origins; it says so."""
    names = request.app[NAMES]
    if not names.may_come(request):
        raise web.HTTPForbidden(reason="come through the proxy")
    if not request.raw_path.startswith("/"):
        raise web.HTTPBadRequest(reason="the address of a request begins with a slash")
    if not names.is_host(request.headers.get("Host", "")):
        raise web.HTTPMisdirectedRequest(reason="not an address of this page: see [web] public_url")
    origin = ", ".join(request.headers.getall("Origin", [])) if "Origin" in request.headers else None
    is_machine = _route(request) in FOR_MACHINES
    may_be_missing = request.method in SAFE or is_machine
    if not (may_be_missing if origin is None else names.is_origin(origin)):
        raise web.HTTPForbidden(reason="this came from another page")
    if (request.content_length or 0) > LARGEST_BODY:
        raise web.HTTPRequestEntityTooLarge(LARGEST_BODY, request.content_length or 0)
    return await handler(request)


@web.middleware
async def check_session(request: web.Request, handler: Handler) -> web.StreamResponse:
    session = _session_of(request, use=_route(request) not in BY_ITSELF)
    if session is not None:
        request[SESSION] = session
    if session is not None or _route(request) in OPEN:
        return await handler(request)
    if request.method in SAFE:
        raise web.HTTPSeeOther("/login")
    raise web.HTTPUnauthorized(reason="the session is over, and nothing was changed: log in again")


@web.middleware
async def check_change(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A change comes from a form of this session, and once; the log says who changed what."""
    if request.method in SAFE or _route(request) in OPEN:
        return await handler(request)
    session = request[SESSION]
    form = await read_form(request)
    given = form.get(FORM_TOKEN, "") or request.headers.get("X-Form-Token", "")
    if not session.spend(given):
        raise web.HTTPForbidden(reason=SENT_BEFORE if session.is_ours(given) else TOO_OLD)
    status = web.HTTPInternalServerError.status_code
    try:
        answer = await handler(request)
        status = answer.status
    except web.HTTPException as error:
        status = error.status
        raise
    finally:
        audit().info(
            "changed from the page",
            route=_route(request),
            fields=list(request.get(CHANGED, ())),
            session=session.name,
            caller=request.app[NAMES].caller(request),
            status=status,
        )
    return answer


MIDDLEWARES: Sequence[Middleware] = (
    track_connection,
    answer_errors,
    check_caller,
    check_session,
    read_body,
    check_change,
)
"""From the outside in."""

MIDDLEWARES_OF_DOORS: Sequence[Middleware] = (track_connection, answer_errors)


def still_in(request: web.Request) -> bool:
    """For an answer that lasts: whether the session it began with has not ended meanwhile. It is not used by that."""
    return _session_of(request, use=False) is not None


def _session_of(request: web.Request, *, use: bool = True) -> Session | None:
    token = request.app[DIGESTS].get(WEB_TOKEN)
    return request.app[SESSIONS].find(request.cookies.get(cookie_name(request), ""), token, use=use)


def _route(request: web.Request) -> str:
    return request.match_info.route.name or ""


def _refusal(request: web.Request, status: int, reason: str) -> web.Response:
    if _route(request) in FOR_MACHINES or PAGES not in request.app:
        return web.Response(text=f"{reason}\n", status=status)
    return page(request, "refusal.html", status=status, reason=reason)
