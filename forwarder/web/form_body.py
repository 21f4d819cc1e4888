"""The reading of a request's body, and of the form in it. An invalid body is rejected with a reason.

aiohttp's own reader of forms raises a different exception for each kind of damage, takes multipart bodies, which no
page of ours sends, and decodes in whatever charset the request names.
"""

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.typedefs import Handler

from forwarder.printable import has_control_character
from forwarder.web.connection import Connection, Phase, Timeouts, enter, peer_address
from forwarder.web.request_errors import PROBLEMS, Problem

FORM_TYPE = "application/x-www-form-urlencoded"

MAX_FIELDS = 100

WITHOUT_BODY = frozenset({"GET", "HEAD"})
"""The methods whose handlers read no body. aiohttp drops a body that is sent with them."""

_WHITESPACE = "\t\n\r"

FORM = web.RequestKey("form", Mapping[str, str])


@web.middleware
async def read_body(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Read the body before the handler runs. Respond with 408 if it takes too long, and with 400 if it is damaged."""
    if not request.can_read_body or request.method in WITHOUT_BODY:
        return await handler(request)
    connection = request.protocol
    timeouts = connection.timeouts if isinstance(connection, Connection) else Timeouts()
    problems, caller = request.app[PROBLEMS], peer_address(request.transport)
    enter(request, Phase.BODY)
    try:
        async with asyncio.timeout(timeouts.body):
            await request.read()
    except TimeoutError:
        problems.report(Problem.BODY_TIMEOUT, caller)
        raise web.HTTPRequestTimeout(reason="the body of the request did not arrive in time") from None
    except (ConnectionError, web.HTTPException):
        raise
    except Exception as error:  # noqa: BLE001  # each encoding of a body has exceptions of its own
        problems.report(Problem.MALFORMED_BODY, caller, exception=type(error).__name__)
        raise web.HTTPBadRequest(reason="the body of the request is damaged") from None
    enter(request, Phase.HANDLER)
    return await handler(request)


async def read_form(request: web.Request) -> Mapping[str, str]:
    """Return the fields of a form by name, or no fields if the body is empty.

    Raise HTTPException, with 400 or 415 and a reason, if the body is not a valid form.
    """
    if FORM not in request:
        request[FORM] = _parse(request, await request.read())
    return request[FORM]


def _parse(request: web.Request, body: bytes) -> dict[str, str]:
    if not body:
        return {}
    if request.content_type != FORM_TYPE:
        raise web.HTTPUnsupportedMediaType(reason=f"a form of this page is sent as {FORM_TYPE}")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise web.HTTPUnsupportedMediaType(reason="a form of this page is sent without compression")
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise web.HTTPUnsupportedMediaType(reason="a form of this page is sent in UTF-8")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise web.HTTPBadRequest(reason="the form holds bytes that are not UTF-8") from None
    except ValueError:
        raise web.HTTPBadRequest(reason=f"the form has more than {MAX_FIELDS} fields") from None
    if any(has_control_character(text, allowed=_WHITESPACE) for pair in pairs for text in pair):
        raise web.HTTPBadRequest(reason="the form holds control characters")
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise web.HTTPBadRequest(reason="the form has the same field twice")
    return fields
