"""The actions on dead letters: retry and purge."""

from aiohttp import web

from forwarder.errors import LedgerError
from forwarder.model import is_id
from forwarder.web.context import CONTEXT
from forwarder.web.form_body import read_form
from forwarder.web.middleware import CHANGED_FIELDS
from forwarder.web.rendering import redirect_to
from forwarder.web.status_cache import STATUS_CACHE

ACTIONS = ("retry", "purge", "retry_all", "purge_all")
"""The names of the buttons. The value of the first two is an executionId."""


async def apply_action(request: web.Request) -> web.Response:
    context, form = request.app[CONTEXT], await read_form(request)
    actions = [name for name in ACTIONS if name in form]
    if len(actions) != 1:
        raise web.HTTPBadRequest(reason="one thing at a time")
    execution_ids = None if actions[0].endswith("_all") else [form[actions[0]]]
    if execution_ids and not is_id(execution_ids[0]):
        raise web.HTTPBadRequest(reason="the form names no executionId")
    try:
        if actions[0].startswith("retry"):
            count = await context.ledger.retry_dead_letters(execution_ids, now=context.clock.now())
        else:
            count = await context.ledger.purge_dead_letters(execution_ids)
    except LedgerError as error:
        raise web.HTTPServiceUnavailable(reason=error.message) from None
    request.app[STATUS_CACHE].invalidate()
    # Only an id that exists is logged: anything else is input of a stranger.
    request[CHANGED_FIELDS] = (actions[0], *((execution_ids or ()) if count else ()))
    return redirect_to("/#dead")


ROUTES = [web.post("/dead", apply_action, name="dead")]
