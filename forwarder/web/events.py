"""The list of all stored events: filters, groups by message, retry of the dead letters found, and sending again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, cast, get_args
from urllib.parse import urlencode

from aiohttp import web

from forwarder.errors import LedgerError
from forwarder.event_search import MAX_SEARCHED_ENTRIES, SearchResult, group_by_message, parse_time, search
from forwarder.ledger import EntryFilter, EntryPage, EntryState
from forwarder.model import is_id
from forwarder.web.context import CONTEXT
from forwarder.web.form_body import read_form
from forwarder.web.middleware import CHANGED_FIELDS
from forwarder.web.rendering import redirect_to, render_page
from forwarder.web.status_cache import STATUS_CACHE

PAGE_ENTRIES: Final = 50
"""The number of events on a page of the list."""

FIELDS: Final = ("state", "workflow", "from", "to", "id", "text", "group")
"""The fields of the filter, in a query and in a form."""


@dataclass(frozen=True, slots=True)
class EventQuery:
    """The filter of a list. `faults` has a message for each field that is invalid; such a field selects all."""

    fields: Mapping[str, str]
    matching: EntryFilter
    faults: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, str]) -> "EventQuery":
        # A query may hold bytes that are not text.
        fields = {name: values.get(name, "").strip().encode(errors="replace").decode() for name in FIELDS}
        faults, times = {}, {}
        for name in ("from", "to"):
            try:
                times[name] = parse_time(fields[name]) if fields[name] else None
            except ValueError as error:
                faults[name] = str(error)
        if fields["state"] and fields["state"] not in get_args(EntryState):
            faults["state"] = "is not pending, sent or dead"
        faults |= {name: "is not an id" for name in ("id", "workflow") if fields[name] and not is_id(fields[name])}
        valid = {name: value or None for name, value in fields.items() if name not in faults}
        matching = EntryFilter(
            cast(EntryState | None, valid.get("state")),
            valid.get("workflow"),
            times.get("from"),
            times.get("to"),
            valid.get("id"),
        )
        return cls(fields, matching, faults)

    @property
    def is_searched(self) -> bool:
        """Return whether the list has only the newest matches: a text is searched, or messages are grouped."""
        return bool(self.fields["text"] or self.fields["group"])

    def address(self, **changes: str) -> str:
        """Return the link to this list, with some fields changed."""
        given = {name: value for name, value in {**self.fields, **changes}.items() if value}
        return f"/events?{urlencode(given)}" if given else "/events"


async def events(request: web.Request) -> web.Response:
    query = EventQuery.of(request.query)
    ledger, now = request.app[CONTEXT].ledger, request.app[CONTEXT].clock.now()
    try:
        if query.is_searched:
            found = await search(ledger, query.matching, query.fields["text"])
            page = EntryPage(found.entries)
        else:
            page = await ledger.entries(query.matching, PAGE_ENTRIES, before=request.query.get("before") or None)
            found = SearchResult(page.entries, is_truncated=False)
        dead = await _dead_letters(request, query)
    except ValueError:
        raise web.HTTPBadRequest(reason="the link names no position in this list") from None
    except LedgerError as error:
        raise web.HTTPServiceUnavailable(reason=error.message) from None
    groups = group_by_message(found.entries) if query.fields["group"] else []
    return render_page(
        request,
        "events.html",
        query=query,
        found=found,
        entries=page.entries,
        groups=groups,
        next=page.next,
        dead=dead,
        limit=MAX_SEARCHED_ENTRIES,
        retried=request.query.get("retried", ""),
        at=now,
        active="events",
    )


async def _dead_letters(request: web.Request, query: EventQuery) -> SearchResult:
    """Return the dead letters of a list that shows dead letters only, else nothing."""
    if query.matching.state != "dead" or query.faults:
        return SearchResult([], is_truncated=False)
    return await search(request.app[CONTEXT].ledger, query.matching, query.fields["text"])


async def retry(request: web.Request) -> web.Response:
    """Retry the dead letters of a list. Their number must be the one that the button showed."""
    context, form = request.app[CONTEXT], await read_form(request)
    query = EventQuery.of(form)
    try:
        dead = [each.entry.execution_id for each in (await _dead_letters(request, query)).entries]
        if not dead or form.get("count") != str(len(dead)):
            raise web.HTTPConflict(reason="the list has changed, and nothing was retried: load it again")
        count = await context.ledger.retry_dead_letters(dead, now=context.clock.now())
    except LedgerError as error:
        raise web.HTTPServiceUnavailable(reason=error.message) from None
    request.app[STATUS_CACHE].invalidate()
    request[CHANGED_FIELDS] = ("retry", f"{count} events")
    return redirect_to(query.address(retried=str(count)))


async def send_again(request: web.Request) -> web.Response:
    """Send a sent event again, marked as a replay."""
    context, form = request.app[CONTEXT], await read_form(request)
    if not is_id(id_ := form.get("id", "")):
        raise web.HTTPBadRequest(reason="the form names no executionId")
    try:
        count = await context.ledger.replay_executions([id_], now=context.clock.now())
    except LedgerError as error:
        raise web.HTTPServiceUnavailable(reason=error.message) from None
    request.app[STATUS_CACHE].invalidate()
    # Only an id that exists is logged: anything else is input of a stranger.
    request[CHANGED_FIELDS] = ("send_again", *([id_] if count else []))
    return redirect_to(f"/event?{urlencode({'id': id_})}")


ROUTES = [
    web.get("/events", events, name="events"),
    web.post("/events/retry", retry, name="events-retry"),
    web.post("/event/send-again", send_again, name="event-send-again"),
]
