"""The status page: how everything stands, kept fresh; and one event whole."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec
from aiohttp import web

from forwarder.errors import LedgerError
from forwarder.ledger import Held
from forwarder.model import is_id
from forwarder.web.board import BOARD
from forwarder.web.desk import DESK
from forwarder.web.details import error_of, readable, sent_detail
from forwarder.web.guard import still_in
from forwarder.web.names import NAMES
from forwarder.web.pages import SESSION, page
from forwarder.web.request_errors import PROBLEMS, Problem

LOOK_EVERY = 1.0
QUIET = 15.0
"""Seconds between two signs of life on a stream without news, so that nobody between takes it for dead."""


MAX_STREAMS_OF_SESSION, MAX_STREAMS = 8, 64
"""Streams at a time: a stream holds a connection for as long as its page is open."""


class Streams:
    """The streams that are open, by session."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def open(self, request: web.Request) -> Iterator[None]:
        """Count a stream for the length of the block. Raises HTTPTooManyRequests."""
        name = request[SESSION].name
        if self._open[name] >= MAX_STREAMS_OF_SESSION or self._open.total() >= MAX_STREAMS:
            request.app[PROBLEMS].report(Problem.TOO_MANY_STREAMS, request.app[NAMES].caller(request))
            raise web.HTTPTooManyRequests(reason="too many open pages", headers={"Retry-After": "30"})
        self._open[name] += 1
        try:
            yield
        finally:
            self._open[name] -= 1
            self._open += Counter()  # forgets those that have none


STREAMS = web.AppKey("streams", Streams)


async def status(request: web.Request) -> web.Response:
    board = request.app[BOARD]
    sections = await board.sections()
    return page(request, "status.html", standing=await board.standing(), sections=sections, here="status")


async def stream(request: web.Request) -> web.StreamResponse:
    """Server-sent events: the sections that changed, as a JSON object of HTML by name; all of them at first.

    It ends with the session, which it does not keep from being idle.
    """
    with request.app[STREAMS].open(request):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        with suppress(ConnectionError):  # the reader goes away, as readers do
            await _tell_news(request, response)
        return response


async def _tell_news(request: web.Request, response: web.StreamResponse) -> None:
    desk, board = request.app[DESK], request.app[BOARD]
    seen: dict[str, str] = {}
    told_at = desk.clock.monotonic()
    stopping = False
    while not stopping and still_in(request):
        sections, now = await board.sections(), desk.clock.monotonic()
        if news := {name: html for name, html in sections.items() if seen.get(name) is not html}:
            await response.write(b"data: " + msgspec.json.encode(news) + b"\n\n")
            seen, told_at = dict(sections), now
        elif now - told_at >= QUIET:
            await response.write(b": still here\n\n")
            told_at = now
        stopping = await desk.clock.wait(desk.stopping, LOOK_EVERY)


async def event(request: web.Request) -> web.Response:
    held = await _asked_for(request)
    detail = readable(sent_detail(held))
    return page(request, "event.html", held=held, error=error_of(held), readable=detail, here="")


async def event_detail(request: web.Request) -> web.Response:
    """The bytes of the detail."""
    return web.Response(body=sent_detail(await _asked_for(request)), content_type="application/json")


async def _asked_for(request: web.Request) -> Held:
    try:
        id_ = request.query.get("id", "").encode(errors="replace").decode()  # a query may hold bytes that are no text
        held = await request.app[DESK].ledger.held(id_) if is_id(id_) else None
    except LedgerError as error:
        raise web.HTTPServiceUnavailable(reason=error.message) from None
    if held is None:
        raise web.HTTPNotFound(reason="this event is not held any more, or never was: see ledger.keep_payload")
    return held


ROUTES = [
    web.get("/", status, name="status"),
    web.get("/status/stream", stream, name="stream", allow_head=False),
    web.get("/event", event, name="event"),
    web.get("/event/detail", event_detail, name="event-detail"),
]
