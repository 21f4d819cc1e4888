"""The status page, and its stream of updates."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

from aiohttp import web

from forwarder.web.connection_limit import WEB_UI_SHARE, max_connections
from forwarder.web.context import CONTEXT
from forwarder.web.form_body import read_form
from forwarder.web.hosts import ALLOWED_HOSTS
from forwarder.web.middleware import CHANGED_FIELDS, is_session_alive
from forwarder.web.rendering import SESSION, redirect_to, render_page
from forwarder.web.request_errors import PROBLEMS, Problem
from forwarder.web.status_cache import STATUS_CACHE

REFRESH_SECONDS = 1.0
CONTACT_SECONDS = 2.0
"""The time between two contact events of a stream. A page that receives none shows that it has no contact."""


RETRY_COMPONENTS = ("source", "bus")

MAX_STREAMS_OF_SESSION = 8
"""The number of streams of one session at a time. A stream holds a connection for as long as its page is open."""

STREAMS_SHARE = 2 / 3
"""The share of the web UI's connections that all streams together may hold."""


class Streams:
    """The streams that are open, by session."""

    def __init__(self) -> None:
        self._max_streams = int(STREAMS_SHARE * WEB_UI_SHARE * max_connections())
        self._open: Counter[str] = Counter()

    @contextmanager
    def open(self, request: web.Request) -> Iterator[None]:
        """Count a stream until the end of the block. Raise HTTPTooManyRequests if too many are open."""
        name = request[SESSION].name
        if self._open[name] >= MAX_STREAMS_OF_SESSION or self._open.total() >= self._max_streams:
            request.app[PROBLEMS].report(Problem.TOO_MANY_STREAMS, request.app[ALLOWED_HOSTS].caller(request))
            raise web.HTTPTooManyRequests(reason="too many open pages", headers={"Retry-After": "30"})
        self._open[name] += 1
        try:
            yield
        finally:
            self._open[name] -= 1
            self._open += Counter()  # forgets those that have none


STREAMS = web.AppKey("streams", Streams)


async def status(request: web.Request) -> web.Response:
    cache = request.app[STATUS_CACHE]
    sections = await cache.sections()
    return render_page(request, "status.html", snapshot=await cache.snapshot(), sections=sections, active="status")


async def stream(request: web.Request) -> web.StreamResponse:
    """Stream server-sent events. Each is a JSON object with the HTML of the changed sections by name.

    The first event has all sections. An event `contact` has the daemon's time, in milliseconds. The stream ends with
    the session or the daemon. It does not reset the idle time of the session.
    """
    with request.app[STREAMS].open(request):
        # nginx would collect the events in a buffer, and other proxies would do so to compress them.
        headers = {
            "Content-Type": "text/event-stream",
            "X-Accel-Buffering": "no",
            "Cache-Control": "no-store, no-transform",
        }
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        with suppress(ConnectionError):  # the client has gone
            await _send_updates(request, response)
        return response


async def _send_updates(request: web.Request, response: web.StreamResponse) -> None:
    context, cache = request.app[CONTEXT], request.app[STATUS_CACHE]
    sent_version = 0
    contact_at = float("-inf")
    stopping = False
    while not stopping and is_session_alive(request):
        sent_version, changes = await cache.changes(sent_version)
        now = context.clock.monotonic()
        if changes:
            await response.write(b"data: " + changes + b"\n\n")
        if now - contact_at >= CONTACT_SECONDS:
            await response.write(b"event: contact\ndata: %d\n\n" % (context.clock.now().timestamp() * 1000))
            contact_at = now
        stopping = await context.clock.wait(context.stopping, REFRESH_SECONDS)


async def sections(request: web.Request) -> web.Response:
    """Return all sections as JSON, for a page whose stream a proxy holds back.

    It does not reset the idle time of the session.
    """
    _, changes = await request.app[STATUS_CACHE].changes(0)
    return web.Response(body=changes, content_type="application/json")


async def contact(_request: web.Request) -> web.Response:
    """Return 204: the daemon responds. It does not reset the idle time of the session."""
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def headline(request: web.Request) -> web.Response:
    """Return the headline as text, for the title of a hidden page. It does not reset the idle time of the session."""
    return web.Response(text=(await request.app[STATUS_CACHE].snapshot()).headline)


async def retry_now(request: web.Request) -> web.Response:
    """End the backoff of a component. Do nothing if it does not back off, or if the API requested the wait."""
    component = (await read_form(request)).get("component", "")
    if component not in RETRY_COMPONENTS:
        raise web.HTTPBadRequest(reason="the form names no component that can be tried again")
    if request.app[CONTEXT].retry_now(component):
        request[CHANGED_FIELDS] = (component,)
        request.app[STATUS_CACHE].invalidate()
    return redirect_to("/")


ROUTES = [
    web.get("/", status, name="status"),
    web.get("/status/stream", stream, name="stream", allow_head=False),
    web.get("/status/sections", sections, name="sections"),
    web.get("/status/contact", contact, name="contact"),
    web.get("/status/headline", headline, name="headline"),
    web.post("/retry-now", retry_now, name="retry-now"),
]
