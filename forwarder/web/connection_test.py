"""The connection test and the test event of the settings page: they use the values in the form, and save nothing.

The response is the settings page with the steps at its end. The page's script requests the steps alone, one per line.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from pydantic import SecretStr

from forwarder.aws.credentials import StoredKeys
from forwarder.delivery.canary import DETAIL_TYPE, send_canary
from forwarder.diagnostics import CheckResult, ConnectionTest, run_connection_checks
from forwarder.errors import ForwarderError
from forwarder.vault import ALLOY_API_KEY, Vault
from forwarder.vault.secret_values import reject_own_token, validate_secret
from forwarder.web import settings_form
from forwarder.web.context import CONTEXT, WebContext
from forwarder.web.form_body import read_form
from forwarder.web.rendering import RENDERER
from forwarder.web.settings_form import SettingsChanges
from forwarder.web.settings_page import file_settings, form_values, normalize_newlines

STEPS_PLACEHOLDER = "<!-- steps -->"
"""The text of the settings page that the steps replace."""

STEPS_ONLY_HEADER = "X-Steps-Only"

StepSource = Callable[[WebContext, SettingsChanges], AsyncIterator[CheckResult]]


async def stream_connection_test(request: web.Request) -> web.StreamResponse:
    return await _stream_steps(request, _connection_steps)


async def stream_test_event(request: web.Request) -> web.StreamResponse:
    return await _stream_steps(request, _test_event_steps)


async def _connection_steps(context: WebContext, given: SettingsChanges) -> AsyncIterator[CheckResult]:
    try:
        candidate = await asyncio.to_thread(build_candidate, context, given)
    except ForwarderError as error:
        yield CheckResult("settings", error=error)
        return
    yield CheckResult("settings", "valid")
    async for step in run_connection_checks(candidate, context.clock):
        yield step


async def _test_event_steps(context: WebContext, given: SettingsChanges) -> AsyncIterator[CheckResult]:
    name = "test event"
    try:
        candidate = await asyncio.to_thread(build_candidate, context, given)
        event_id = await send_canary(candidate.identity, candidate.settings.event.source, context.clock)
    except ForwarderError as error:
        yield CheckResult(name, error=error)
    else:
        yield CheckResult(name, f"accepted with the EventId `{event_id}` and the detail-type `{DETAIL_TYPE}`")


@dataclass(frozen=True, slots=True)
class _ChangedVault:
    """The vault with the changes of the form."""

    vault: Vault
    given: SettingsChanges

    def reveal(self, name: str) -> SecretStr | None:
        """Return a secret of the form, else of the vault, or None if it is removed or not set.

        Raise VaultError if the value in the form is not a valid secret.
        """
        if name in self.given.secrets:
            validate_secret(name, self.given.secrets[name])
            reject_own_token(name, self.given.secrets[name], self.vault.digests())  # it must not be sent to anybody
            return SecretStr(self.given.secrets[name])
        return None if name in self.given.removed else self.vault.reveal(name)


def build_candidate(context: WebContext, given: SettingsChanges) -> ConnectionTest:
    """Return the settings and secrets that would be in force after a save of these changes.

    This reads the settings file and the vault. Raise SettingsError or VaultError if one of them, or a change, is
    invalid.
    """
    settings = settings_form.candidate_settings(context.config_source, given)
    secrets = _ChangedVault(Vault.open(context.config_source, settings), given)
    return ConnectionTest(settings, secrets.reveal(ALLOY_API_KEY), StoredKeys.of(secrets))


async def _stream_steps(request: web.Request, steps: StepSource) -> web.StreamResponse:
    context, renderer, given = request.app[CONTEXT], request.app[RENDERER], normalize_newlines(await read_form(request))
    changes = settings_form.parse_changes(context.config_source, file_settings(context), given)
    before, after = "", ""
    if STEPS_ONLY_HEADER not in request.headers:
        before, after = await _split_page(request, context, given)
    response = web.StreamResponse(headers={"Content-Type": "text/html; charset=utf-8"})
    await response.prepare(request)
    await response.write(before.encode())
    async for step in steps(context, changes):
        line = " ".join(renderer.render("step.html", step=step).split())
        await response.write(f"{line}\n".encode())
    await response.write(after.encode())
    return response


async def _split_page(request: web.Request, context: WebContext, given: Mapping[str, str]) -> tuple[str, str]:
    values = await asyncio.to_thread(form_values, context, given)
    text = request.app[RENDERER].render_for(request, "settings.html", **(values | {"has_steps": True}), notice=None)
    before, _, after = text.partition(STEPS_PLACEHOLDER)
    return before, after


ROUTES = [
    web.post("/settings/check", stream_connection_test, name="check"),
    web.post("/settings/test", stream_test_event, name="test"),
]
