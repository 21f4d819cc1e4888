"""The settings page: the switch, and the form that saves to the settings file and the vault."""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from forwarder.errors import ForwarderError, SettingsError, VaultError
from forwarder.settings import ConfigSource, Settings, load
from forwarder.settings.edit import set_value
from forwarder.settings.load import overriding_variable
from forwarder.vault import NAMES, Vault
from forwarder.web import settings_form
from forwarder.web.context import CONTEXT, WebContext
from forwarder.web.form_body import read_form
from forwarder.web.middleware import CHANGED_FIELDS
from forwarder.web.rendering import redirect_to, render_page
from forwarder.web.status_cache import STATUS_CACHE

RELOAD_POLL_SECONDS, MAX_RELOAD_POLLS = 0.05, 40
"""The interval and the largest number of checks whether a change is in force. The daemon reloads within a second."""

FILE_DIGEST_FIELD = "file-digest"
"""The field with the digest of the settings file that the form shows."""

FILE_CHANGED = "The settings file has changed since this page was loaded: check it again, then save"

SAVED = {"level": "good", "text": "Saved. It takes effect within a second, without a restart."}


async def show_settings(request: web.Request) -> web.Response:
    values = await asyncio.to_thread(form_values, request.app[CONTEXT])
    notice = SAVED if "saved" in request.query else None
    return render_page(request, "settings.html", **values, notice=notice)


async def save_settings(request: web.Request) -> web.Response:
    context, given = request.app[CONTEXT], normalize_newlines(await read_form(request))
    digest = file_digest(context)  # before the file is compared: what is written in between is no other change then
    changes = settings_form.parse_changes(context.config_source, file_settings(context), given)
    try:
        # A change made meanwhile must not be undone. A form that is sent twice undoes nothing.
        if changes.values and given.get(FILE_DIGEST_FIELD, digest) != digest:
            faults = {"": FILE_CHANGED}
        else:
            faults = await asyncio.to_thread(
                settings_form.save_changes, context.config_source, changes, context.clock.now()
            )
    except ForwarderError as error:
        faults = {"": format_error(error)}
    if not faults:
        request[CHANGED_FIELDS] = tuple(changes.changed)
        return redirect_to("/settings?saved")
    values = await asyncio.to_thread(form_values, context, given)
    return render_page(request, "settings.html", status=422, **(values | {"faults": faults}), notice=None)


async def switch_forwarding(request: web.Request) -> web.Response:
    context, given = request.app[CONTEXT], normalize_newlines(await read_form(request))
    on = bool(given.get("on"))
    try:
        await asyncio.to_thread(set_value, context.config_source, "enabled", on)
    except SettingsError as error:
        raise web.HTTPConflict(reason=format_error(error)) from None
    await _wait_until_applied(context, enabled=on)
    request.app[STATUS_CACHE].invalidate()
    request[CHANGED_FIELDS] = ("enabled",)
    return redirect_to("/settings" if given.get("from") == "settings" else "/")


async def _wait_until_applied(context: WebContext, *, enabled: bool) -> None:
    """Wait until the daemon has applied the switch, at most two seconds. The next page then shows the new state."""
    for _ in range(MAX_RELOAD_POLLS):
        if context.settings().enabled is enabled:
            return
        await context.clock.sleep(RELOAD_POLL_SECONDS)


def form_values(context: WebContext, given: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the values of the template `settings.html`. Inputs have the values of `given`, else of the file.

    This reads the settings file and the vault.
    """
    settings, faults = file_settings(context), dict[str, str]()
    try:
        load(context.config_source)
        vault = stored_secrets(context.config_source, settings)
    except (SettingsError, VaultError) as error:
        vault, faults = {}, {"": format_error(error)}
    keys = ["enabled", *(each.name for each in settings_form.FIELDS)]
    variables = {key: variable for key in keys if (variable := overriding_variable(context.config_source, key))}
    values = {
        each.name: settings_form.format_value(settings, each.name)
        if given is None or each.name in variables
        else given.get(each.name, "")
        for each in settings_form.FIELDS
    }
    return {
        "active": "settings",
        "file_digest": file_digest(context),
        "form": settings_form,
        "values": values,
        "variables": variables,
        "vault": vault,
        "faults": faults,
        "enabled": settings.enabled,
        "has_steps": False,
    }


def file_digest(context: WebContext) -> str:
    """Return the SHA-256 of the settings file in hex, or an empty text if it cannot be read."""
    try:
        return hashlib.sha256(context.config_source.file.read_bytes()).hexdigest()
    except OSError:
        return ""


def file_settings(context: WebContext) -> Settings:
    """Return the settings of the file and the environment, or the settings in force if they are not valid."""
    try:
        return load(context.config_source)
    except SettingsError:
        return context.settings()


def stored_secrets(config_source: ConfigSource, settings: Settings) -> dict[str, dict[str, Any]]:
    """Return `set_at` (a time) and `suffix` (the last characters, or an empty text) of each stored secret, by name.

    Raise VaultError if the vault cannot be opened.
    """
    vault = Vault.open(config_source, settings)
    return {
        name: {"set_at": set_at, "suffix": vault.suffix(name)}
        for name in NAMES
        if (set_at := vault.set_at(name)) is not None
    }


def normalize_newlines(given: Mapping[str, str]) -> dict[str, str]:
    """Return the fields with Unix line ends."""
    return {name: value.replace("\r\n", "\n") for name, value in given.items()}


def format_error(error: ForwarderError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


ROUTES = [
    web.get("/settings", show_settings, name="settings"),
    web.post("/settings", save_settings, name="save"),
    web.post("/switch", switch_forwarding, name="switch"),
]
