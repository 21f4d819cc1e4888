"""What is done to dead letters from the page: they are retried, or dropped."""

from aiohttp import web

from forwarder.errors import LedgerError
from forwarder.model import is_id
from forwarder.web.board import BOARD
from forwarder.web.desk import DESK
from forwarder.web.form_body import read_form
from forwarder.web.guard import CHANGED
from forwarder.web.pages import go_to

ACTIONS = ("retry", "purge", "retry_all", "purge_all")
"""Names of the buttons. The first two carry an executionId."""


async def act(request: web.Request) -> web.Response:
    desk, form = request.app[DESK], await read_form(request)
    asked = [name for name in ACTIONS if name in form]
    if len(asked) != 1:
        raise web.HTTPBadRequest(reason="one thing at a time")
    chosen = None if asked[0].endswith("_all") else [form[asked[0]]]
    if chosen and not is_id(chosen[0]):
        raise web.HTTPBadRequest(reason="the form names no executionId")
    try:
        if asked[0].startswith("retry"):
            count = await desk.ledger.retry_dead(chosen, now=desk.clock.now())
        else:
            count = await desk.ledger.purge_dead(chosen)
    except LedgerError as error:
        raise web.HTTPServiceUnavailable(reason=error.message) from None
    request.app[BOARD].forget()
    # An id is named only where there is one: whatever else was sent is nothing for the log.
    request[CHANGED] = (asked[0], *((chosen or ()) if count else ()))
    return go_to("/#dead")


ROUTES = [web.post("/dead", act, name="dead")]
