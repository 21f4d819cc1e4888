"""The doors for machines: is it alive, is it ready, and how much of what."""

from http import HTTPStatus

from aiohttp import web

from forwarder.errors import LedgerError
from forwarder.model import State
from forwarder.web.desk import DESK, Desk

PARTS = ("source", "ledger", "bus")

READY = frozenset({State.HEALTHY, State.DEGRADED, State.PAUSED})
"""Switched off is ready: it does what it is asked to, and a restart would mend nothing."""


async def livez(request: web.Request) -> web.Response:
    """200 while every loop has got on within its own due time, else 503 and which did not."""
    late = request.app[DESK].beats.late()
    return _told({"live": not late, "late": sorted(late)}, well=not late)


async def readyz(request: web.Request) -> web.Response:
    """200 while source, ledger and bus do their work, else 503; and their states."""
    desk = request.app[DESK]
    states = {part: desk.state_of(part) for part in PARTS}
    draining = desk.stopping.is_set()
    ready = not draining and all(state in READY for state in states.values())
    return _told({"ready": ready, "draining": draining, "parts": states}, well=ready)


async def metrics(request: web.Request) -> web.Response:
    desk = request.app[DESK]
    await _take_stock(desk)
    return web.Response(body=desk.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def _take_stock(desk: Desk) -> None:
    """What is not counted but stands somewhere is looked up when it is asked for."""
    valid = desk.state_of("settings") is not State.FAILED
    desk.metrics.settings(enabled=desk.settings().enabled, valid=valid)
    try:
        books = await desk.ledger.books()
        oldest = await desk.oldest_owed.look(books.owed)
    except LedgerError:
        return  # the last figures stay, and the part says what is wrong
    age = 0.0 if oldest is None else (desk.clock.now() - oldest).total_seconds()
    desk.metrics.owes(books.owed, age)


def _told(said: dict[str, object], *, well: bool) -> web.Response:
    return web.json_response(said, status=HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE)


ROUTES = [
    web.get("/livez", livez, name="livez"),
    web.get("/readyz", readyz, name="readyz"),
    web.get("/metrics", metrics, name="metrics"),
]
