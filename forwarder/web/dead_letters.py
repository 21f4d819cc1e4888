"""The actions on dead letters: retry and purge, of one, of all, or of those that match a filter."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlencode

from aiohttp import web

from forwarder.errors import LedgerError
from forwarder.event_search import MAX_SEARCHED_ENTRIES, SearchResult, search
from forwarder.model import is_id
from forwarder.web.context import CONTEXT, WebContext
from forwarder.web.event_query import EventQuery
from forwarder.web.form_body import read_form
from forwarder.web.middleware import CHANGED_FIELDS
from forwarder.web.rendering import redirect_to
from forwarder.web.status_cache import STATUS_CACHE

ACTIONS = ("retry", "purge", "retry_all", "purge_all")
"""The names of the buttons. The value of the first two is an executionId."""

LIST_ACTIONS = ("retry", "purge", "retry_matching", "purge_matching")
"""The names of the buttons of the list of events. The value of the last two is the digest of the ids that it shows."""

MAX_MATCHES: Final = MAX_SEARCHED_ENTRIES
"""The number of newest dead letters that one action on a filter changes at most."""

_PAGE_ENTRIES: Final = 100


@dataclass(frozen=True, slots=True)
class Matches:
    """The ids of the newest dead letters that match a filter. `is_truncated` means that there may be older ones."""

    ids: Sequence[str]
    is_truncated: bool

    @classmethod
    def of(cls, found: SearchResult) -> Self:
        return cls([each.entry.execution_id for each in found.entries], found.is_truncated)

    @property
    def digest(self) -> str:
        """Return a digest of the ids, which a form carries in place of them."""
        return hashlib.sha256("\n".join(sorted(self.ids)).encode()).hexdigest()[:32]


async def find_matches(context: WebContext, query: EventQuery) -> Matches:
    """Return the newest dead letters that match. Raise LedgerError."""
    if query.is_searched:
        return Matches.of(await search(context.ledger, query.matching, query.text))
    ids: list[str] = []
    position = None
    while len(ids) < MAX_MATCHES:  # in small pages, because only the ids are kept and the details may be large
        page = await context.ledger.entries(query.matching, _PAGE_ENTRIES, before=position)
        ids += [each.entry.execution_id for each in page.entries]
        position = page.next
        if position is None:
            break
    return Matches(ids, is_truncated=position is not None)


async def apply_action(request: web.Request) -> web.Response:
    """Retry or purge one dead letter, or all. Then show the page of the event or the status page."""
    form = await read_form(request)
    action = _pressed_button(form, ACTIONS)
    execution_ids = None if action.endswith("_all") else [_execution_id(form[action])]
    count = await _change(request, action, execution_ids)
    # Only an id that exists is logged: anything else is input of a stranger.
    request[CHANGED_FIELDS] = (action, *((execution_ids or ()) if count else ()))
    if form.get("page") != "event" or not execution_ids:
        return redirect_to("/#dead")
    is_kept = action == "retry" and count
    return redirect_to(f"/event?{urlencode({'id': execution_ids[0]})}" if is_kept else "/events?state=dead")


async def apply_list_action(request: web.Request) -> web.Response:
    """Retry or purge one dead letter of the list, or all that match its filter. Then show the list again."""
    form = await read_form(request)
    action = _pressed_button(form, LIST_ACTIONS)
    query = EventQuery.of(form)
    if query.faults:
        raise web.HTTPBadRequest(reason="the form holds an invalid filter")
    if action in ("retry", "purge"):
        count = await _change(request, action, ids := [_execution_id(form[action])])
        request[CHANGED_FIELDS] = (action, *(ids if count else ()))
    else:
        count = await _change(request, action, await _matching_ids(request, query, action, form[action]))
        request[CHANGED_FIELDS] = (action, f"{count} dead letters")
    url = query.url()
    result = urlencode({"retried" if action.startswith("retry") else "purged": count})
    return redirect_to(f"{url}{'&' if '?' in url else '?'}{result}")


async def _matching_ids(request: web.Request, query: EventQuery, action: str, digest: str) -> Sequence[str]:
    """Return the ids that an action on the filter changes.

    Raise HTTPConflict if a purge would drop others than those that were shown.
    """
    if not query.is_dead_only:
        raise web.HTTPBadRequest(reason="the filter does not select dead letters")
    try:
        matches = await find_matches(request.app[CONTEXT], query)
    except LedgerError as error:
        raise web.HTTPServiceUnavailable(reason=error.message) from None
    if action == "purge_matching" and matches.ids and matches.digest != digest:
        raise web.HTTPConflict(reason="the list has changed since it was shown, and nothing was purged: load it again")
    return matches.ids


def _pressed_button(form: Collection[str], actions: Sequence[str]) -> str:
    pressed = [name for name in actions if name in form]
    if len(pressed) != 1:
        raise web.HTTPBadRequest(reason="the form has to name exactly one action")
    return pressed[0]


def _execution_id(text: str) -> str:
    if not is_id(text):
        raise web.HTTPBadRequest(reason="the form names no executionId")
    return text


async def _change(request: web.Request, action: str, execution_ids: Collection[str] | None) -> int:
    """Retry or purge these dead letters, or all if None. Return how many."""
    context = request.app[CONTEXT]
    try:
        if action.startswith("retry"):
            return await context.ledger.retry_dead_letters(execution_ids, now=context.clock.now())
        return await context.ledger.purge_dead_letters(execution_ids)
    except LedgerError as error:
        raise web.HTTPServiceUnavailable(reason=error.message) from None
    finally:
        request.app[STATUS_CACHE].invalidate()


ROUTES = [
    web.post("/dead", apply_action, name="dead"),
    web.post("/events/dead", apply_list_action, name="dead-matching"),
]
