"""The list of the stored events: by filter and text, or grouped by message."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from forwarder.errors import LedgerError
from forwarder.event_search import MAX_SEARCHED_ENTRIES, MessageGroup, SearchResult, group_by_message, search
from forwarder.ledger import StoredEntry
from forwarder.model import is_id
from forwarder.web.context import CONTEXT, WebContext
from forwarder.web.dead_letters import Matches, find_matches
from forwarder.web.event_query import FIELDS, MAX_TEXT_CHARACTERS, EventQuery, read_query
from forwarder.web.rendering import render_page

PAGE_ENTRIES: Final = 50
MAX_GROUPS: Final = 100

EMPTY: Final = Matches(ids=(), is_truncated=False)


@dataclass(frozen=True, slots=True)
class EventList:
    """A page of the list. `count` is the number of all matches, or None if it is not known.

    `next` is the position of the next page, or empty. `is_truncated` means that older events were not searched.
    """

    entries: Sequence[StoredEntry] = ()
    next: str = ""
    count: int | None = None
    groups: Sequence[MessageGroup] = ()
    omitted_groups: int = 0
    is_truncated: bool = False
    is_later_page: bool = False


async def show_events(request: web.Request) -> web.Response:
    """Return a page of the list of events, with the faults of an invalid filter. Refuse a position of no page."""
    context, given = request.app[CONTEXT], read_query(request)
    query, before = EventQuery.of(given), given.get("before", "")
    listed, matches = EventList(), EMPTY
    if not query.faults:
        try:
            listed, matches = await find_events(context, query, before)
        except ValueError:
            raise web.HTTPBadRequest(reason="the address names no page of the list: start at its first page") from None
        except LedgerError as error:
            raise web.HTTPServiceUnavailable(reason=error.message) from None
    return render_page(
        request,
        "events.html",
        status=web.HTTPBadRequest.status_code if query.faults else 200,
        query=query,
        listed=listed,
        matches=matches,
        now=context.clock.now(),
        notice=_notice(given),
        payload_retention=context.settings().ledger.payload_retention,
        fields=FIELDS,
        group_text=group_text,
        max_searched=MAX_SEARCHED_ENTRIES,
        max_text=MAX_TEXT_CHARACTERS,
        active="events",
    )


async def find_events(context: WebContext, query: EventQuery, before: str = "") -> tuple[EventList, Matches]:
    """Return a page of the list, and the dead letters that actions on the whole list change.

    Raise LedgerError, or ValueError if `before` is not a position.
    """
    if query.is_searched:
        found = await search(context.ledger, query.matching, query.text)
        listed = _grouped(found) if query.is_grouped else _page_of(found, before)
        return listed, Matches.of(found) if query.is_dead_only else EMPTY
    page = await context.ledger.entries(query.matching, PAGE_ENTRIES, before=before or None)
    is_complete = not before and page.next is None
    listed = EventList(
        page.entries,
        page.next or "",
        count=len(page.entries) if is_complete else None,
        is_later_page=bool(before),
    )
    return listed, await find_matches(context, query) if query.is_dead_only else EMPTY


def _grouped(found: SearchResult) -> EventList:
    groups = group_by_message(found.entries)
    shown = groups[:MAX_GROUPS]
    return EventList(
        count=len(found.entries),
        groups=shown,
        omitted_groups=len(groups) - len(shown),
        is_truncated=found.is_truncated,
    )


def _page_of(found: SearchResult, before: str) -> EventList:
    """Return a page of what was found. The position of a page is the id of the last event on the page before it."""
    ids = [each.entry.execution_id for each in found.entries]
    if before and not is_id(before):
        raise ValueError("is not a position in this list")
    start = ids.index(before) + 1 if before in ids else len(ids) if before else 0
    shown = found.entries[start : start + PAGE_ENTRIES]
    return EventList(
        shown,
        shown[-1].entry.execution_id if start + PAGE_ENTRIES < len(ids) else "",
        count=len(ids),
        is_truncated=found.is_truncated,
        is_later_page=bool(before),
    )


def group_text(message: str) -> str:
    """Return the text that finds the events of a group: the longest printable part of the message, cut if necessary."""
    printable = "".join(character if character.isprintable() else "\n" for character in message)
    return max(printable.split("\n"), key=len)[:MAX_TEXT_CHARACTERS].strip()


def _notice(given: Mapping[str, str]) -> str:
    """Return the result of an action that led to this page, or an empty text."""
    for name, text in (("retried", "pending again"), ("purged", "purged for good")):
        count = given.get(name, "")
        if count.isascii() and count.isdigit() and len(count) <= len(str(MAX_SEARCHED_ENTRIES)):
            return f"{count} dead letter{' is' if count == '1' else 's are'} {text}."
    return ""


ROUTES = [web.get("/events", show_events, name="events")]
