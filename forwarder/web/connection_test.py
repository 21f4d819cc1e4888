"""The connection test and the test event of the settings page: they use the values in the form, and save nothing.

The response is the settings page with the steps at its end. The page's script requests the steps alone, one per line.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

from aiohttp import web

from forwarder.diagnostics import CheckResult
from forwarder.web.checklist import CHECK_RECORD, recorded
from forwarder.web.connection_checks import check_connection, send_test_event
from forwarder.web.context import CONTEXT, WebContext
from forwarder.web.form_body import read_form
from forwarder.web.rendering import RENDERER
from forwarder.web.settings_form import SettingsChanges
from forwarder.web.settings_page import form_values, normalize_newlines, read_changes

STEPS_PLACEHOLDER = "<!-- steps -->"
"""The text of the settings page that the steps replace."""

STEPS_ONLY_HEADER = "X-Steps-Only"

StepSource = Callable[[WebContext, SettingsChanges], AsyncIterator[CheckResult]]


async def stream_connection_test(request: web.Request) -> web.StreamResponse:
    return await _stream_steps(request, check_connection)


async def stream_test_event(request: web.Request) -> web.StreamResponse:
    return await _stream_steps(request, send_test_event)


async def _stream_steps(request: web.Request, steps: StepSource) -> web.StreamResponse:
    context, renderer, given = request.app[CONTEXT], request.app[RENDERER], normalize_newlines(await read_form(request))
    changes = await asyncio.to_thread(read_changes, context, given)
    before, after = "", ""
    if STEPS_ONLY_HEADER not in request.headers:
        before, after = await _split_page(request, given)
    response = web.StreamResponse(headers={"Content-Type": "text/html; charset=utf-8"})
    await response.prepare(request)
    await response.write(before.encode())
    async for step in recorded(request.app[CHECK_RECORD], context, changes, steps(context, changes)):
        line = " ".join(renderer.render("step.html", step=step).split())
        await response.write(f"{line}\n".encode())
    await response.write(after.encode())
    return response


async def _split_page(request: web.Request, given: Mapping[str, str]) -> tuple[str, str]:
    values = await asyncio.to_thread(form_values, request, given)
    text = request.app[RENDERER].render_for(request, "settings.html", **(values | {"has_steps": True}), notice=None)
    before, _, after = text.partition(STEPS_PLACEHOLDER)
    return before, after


ROUTES = [
    web.post("/settings/check", stream_connection_test, name="check"),
    web.post("/settings/test", stream_test_event, name="test"),
]
