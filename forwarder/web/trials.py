"""Trying what stands in the form before it is saved: each step is told as it ends; and a test event.

The answer is the settings page again, with the steps at its end. A script asks for the steps alone, a line each, and is
given the next form token with them, since the one it sent counts no more.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from pydantic import SecretStr

from forwarder.aws.canary import DETAIL_TYPE, send_canary
from forwarder.aws.credentials import StoredKeys
from forwarder.check import Step, Trial, connection
from forwarder.errors import ForwarderError
from forwarder.vault import ALLOY_API_KEY, Vault
from forwarder.vault.secret_values import check, refuse_token
from forwarder.web import form
from forwarder.web.desk import DESK, Desk
from forwarder.web.form import Submitted
from forwarder.web.form_body import read_form
from forwarder.web.pages import PAGES, SESSION
from forwarder.web.settings_page import form_values, in_file, texts

STEPS_HERE = "<!-- steps -->"
"""In the settings page."""

FOR_SCRIPT = "X-Steps-Alone"
NEXT_TOKEN = "X-Form-Token"  # noqa: S105  # the name of a header

Steps = Callable[[Desk, Submitted], AsyncIterator[Step]]


async def check_connection(request: web.Request) -> web.StreamResponse:
    return await _answer(request, _connection)


async def send_test_event(request: web.Request) -> web.StreamResponse:
    return await _answer(request, _test_event)


async def _connection(desk: Desk, given: Submitted) -> AsyncIterator[Step]:
    try:
        trial = await asyncio.to_thread(trial_of, desk, given)
    except ForwarderError as error:
        yield Step("settings", error=error)
        return
    yield Step("settings", "valid")
    async for step in connection(trial, desk.clock):
        yield step


async def _test_event(desk: Desk, given: Submitted) -> AsyncIterator[Step]:
    name = "test event"
    try:
        trial = await asyncio.to_thread(trial_of, desk, given)
        event_id = await send_canary(trial.identity, trial.settings.event.source, desk.clock)
    except ForwarderError as error:
        yield Step(name, error=error)
    else:
        yield Step(name, f"accepted with the EventId `{event_id}` and the detail-type `{DETAIL_TYPE}`")


@dataclass(frozen=True, slots=True)
class _WithChanges:
    """The vault as it would be."""

    vault: Vault
    given: Submitted

    def reveal(self, name: str) -> SecretStr | None:
        """Raises VaultError for a value that could be no such secret."""
        if name in self.given.secrets:
            check(name, self.given.secrets[name])
            refuse_token(name, self.given.secrets[name], self.vault.digests())  # it must not be sent to anybody
            return SecretStr(self.given.secrets[name])
        return None if name in self.given.removed else self.vault.reveal(name)


def trial_of(desk: Desk, given: Submitted) -> Trial:
    """What would be in force if it were saved. Reads files; raises SettingsError, VaultError."""
    settings = form.candidate(desk.place, given)
    secrets = _WithChanges(Vault.open(desk.place, settings), given)
    return Trial(settings, secrets.reveal(ALLOY_API_KEY), StoredKeys.of(secrets))


async def _answer(request: web.Request, steps: Steps) -> web.StreamResponse:
    desk, pages, given = request.app[DESK], request.app[PAGES], texts(await read_form(request))
    submitted = form.submitted(desk.place, in_file(desk), given)
    before, after = "", ""
    if FOR_SCRIPT not in request.headers:
        before, after = await _page_around(request, desk, given)
    response = web.StreamResponse(
        headers={"Content-Type": "text/html; charset=utf-8", NEXT_TOKEN: request[SESSION].form_token()}
    )
    await response.prepare(request)
    await response.write(before.encode())
    async for step in steps(desk, submitted):
        line = " ".join(pages.render("step.html", step=step).split())
        await response.write(f"{line}\n".encode())
    await response.write(after.encode())
    return response


async def _page_around(request: web.Request, desk: Desk, given: Mapping[str, str]) -> tuple[str, str]:
    values = await asyncio.to_thread(form_values, desk, given)
    text = request.app[PAGES].text(request, "settings.html", **(values | {"tries": True}), notice=None)
    before, _, after = text.partition(STEPS_HERE)
    return before, after


ROUTES = [
    web.post("/settings/check", check_connection, name="check"),
    web.post("/settings/test", send_test_event, name="test"),
]
