"""The page of one event, and its actions: send again, and rerun in Alloy."""

import shlex
from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from forwarder.errors import LedgerError
from forwarder.event.idempotency import displayed_detail
from forwarder.ledger import StoredEntry
from forwarder.model import is_id
from forwarder.printable import escaped
from forwarder.settings import Settings
from forwarder.web import formatting
from forwarder.web.context import CONTEXT
from forwarder.web.event_query import EventQuery
from forwarder.web.form_body import read_form
from forwarder.web.middleware import CHANGED_FIELDS
from forwarder.web.rendering import redirect_to, render_page
from forwarder.web.reruns import RERUNS, Reruns
from forwarder.web.status_cache import STATUS_CACHE


@dataclass(frozen=True, slots=True)
class CopyText:
    """A text that can be copied from the page."""

    id: str
    label: str
    text: str
    hint: str


async def show_event(request: web.Request) -> web.Response:
    """Return the page of an event. Raise HTTPNotFound if the event is not stored."""
    stored = await _find_entry(request, _text(request, "id"))
    settings = request.app[CONTEXT].settings()
    detail = displayed_detail(stored.entry.detail, stored.send_number)
    return render_page(
        request,
        "event.html",
        stored=stored,
        error=formatting.error(stored),
        detail=msgspec.json.format(detail, indent=2).decode(errors="replace"),
        copies=copy_texts(stored, settings),
        workflow_url=EventQuery.of({"workflow": stored.entry.feed.workflow_id}).url(),
        is_enabled=settings.enabled,
        rerun=request.app[RERUNS].result(_text(request, "rerun"), stored.entry.execution_id),
        rerun_key=Reruns.new_key(),
        active="events",
    )


async def show_detail(request: web.Request) -> web.Response:
    """Return the JSON of an event's detail. Raise HTTPNotFound if the event is not stored."""
    stored = await _find_entry(request, _text(request, "id"))
    detail = displayed_detail(stored.entry.detail, stored.send_number)
    return web.Response(body=detail, content_type="application/json")


async def send_again(request: web.Request) -> web.Response:
    """Make a sent event pending again, marked as a replay. Another state is not changed."""
    context, form = request.app[CONTEXT], await read_form(request)
    stored = await _find_entry(request, form.get("id", ""))
    execution_id = stored.entry.execution_id
    try:
        await context.ledger.replay_executions([execution_id], now=context.clock.now())
    except LedgerError as error:
        raise web.HTTPServiceUnavailable(reason=error.message) from None
    request.app[STATUS_CACHE].invalidate()
    request[CHANGED_FIELDS] = ("send_again", execution_id)
    return redirect_to(event_url(execution_id))


async def rerun(request: web.Request) -> web.Response:
    """Request another run of the execution from Alloy. The page of the event then shows the result."""
    context, form = request.app[CONTEXT], await read_form(request)
    stored = await _find_entry(request, form.get("id", ""))
    execution_id, key = stored.entry.execution_id, form.get("key", "")
    request[CHANGED_FIELDS] = ("rerun", execution_id)
    await request.app[RERUNS].request(key, execution_id, lambda: context.rerun(stored.entry.feed, execution_id))
    return redirect_to(f"{event_url(execution_id)}&rerun={key}")


def event_url(execution_id: str) -> str:
    return f"/event?{urlencode({'id': execution_id})}"


def copy_texts(stored: StoredEntry, settings: Settings) -> list[CopyText]:
    """Return the texts to copy: a rule pattern for events of the workflow, and a command."""
    execution_id, event = stored.entry.execution_id, settings.event
    pattern = {
        "source": [event.source],
        "detail-type": [event.detail_type],
        "detail": {"workflowId": [stored.entry.feed.workflow_id]},
    }
    pattern_json = escaped(msgspec.json.format(msgspec.json.encode(pattern), indent=2).decode())
    separator = "-- " if execution_id.startswith("-") else ""
    command = f"forwarder events show {separator}{shlex.quote(execution_id)}"
    return [
        CopyText("rule-pattern", "Rule pattern", pattern_json, "For an EventBridge rule: all events of this workflow."),
        CopyText("command", "Command", command, "Prints this event in a terminal."),
    ]


def _text(request: web.Request, name: str) -> str:
    """Return a value of the query. It may hold bytes that are no text."""
    return request.query.get(name, "").encode(errors="replace").decode()


async def _find_entry(request: web.Request, execution_id: str) -> StoredEntry:
    try:
        stored = await request.app[CONTEXT].ledger.stored_entry(execution_id) if is_id(execution_id) else None
    except LedgerError as error:
        raise web.HTTPServiceUnavailable(reason=error.message) from None
    if stored is None:
        raise web.HTTPNotFound(
            reason="there is no such event: it was never recorded, or ledger.payload_retention has removed it"
        )
    return stored


ROUTES = [
    web.get("/event", show_event, name="event"),
    web.get("/event/detail", show_detail, name="event-detail"),
    web.post("/event/send-again", send_again, name="event-send-again"),
    web.post("/event/rerun", rerun, name="event-rerun"),
]
