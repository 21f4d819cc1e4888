"""The status page: how everything stands, kept fresh; and one event whole."""

import msgspec
from aiohttp import web

from forwarder.ledger import Held
from forwarder.web.board import BOARD
from forwarder.web.desk import DESK
from forwarder.web.details import error_of, readable, sent_detail
from forwarder.web.pages import page

LOOK_EVERY = 1.0
QUIET = 15.0
"""Seconds between two signs of life on a stream without news, so that nobody between takes it for dead."""


async def status(request: web.Request) -> web.Response:
    board = request.app[BOARD]
    sections = await board.sections()
    return page(request, "status.html", standing=await board.standing(), sections=sections, here="status")


async def stream(request: web.Request) -> web.StreamResponse:
    """Server-sent events: the sections that changed, as a JSON object of HTML by name; all of them at first."""
    desk, board = request.app[DESK], request.app[BOARD]
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    seen: dict[str, str] = {}
    quiet_since = desk.clock.monotonic()
    stopping = False
    while not stopping:
        sections = await board.sections()
        news = {name: html for name, html in sections.items() if seen.get(name) is not html}
        now = desk.clock.monotonic()
        if news:
            await response.write(b"data: " + msgspec.json.encode(news) + b"\n\n")
            seen, quiet_since = dict(sections), now
        elif now - quiet_since >= QUIET:
            await response.write(b": still here\n\n")
            quiet_since = now
        stopping = await desk.clock.wait(desk.stopping, LOOK_EVERY)
    return response


async def event(request: web.Request) -> web.Response:
    held = await _asked_for(request)
    detail = readable(sent_detail(held))
    return page(request, "event.html", held=held, error=error_of(held), readable=detail, here="")


async def event_detail(request: web.Request) -> web.Response:
    """The bytes of the detail."""
    return web.Response(body=sent_detail(await _asked_for(request)), content_type="application/json")


async def _asked_for(request: web.Request) -> Held:
    held = await request.app[DESK].ledger.held(request.query.get("id", ""))
    if held is None:
        raise web.HTTPNotFound(reason="this event is not held any more, or never was: see ledger.keep_payload")
    return held


ROUTES = [
    web.get("/", status, name="status"),
    web.get("/status/stream", stream, name="stream"),
    web.get("/event", event, name="event"),
    web.get("/event/detail", event_detail, name="event-detail"),
]
