"""The settings page: the switch, and the form that saves to the settings file and the vault."""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from forwarder.errors import ForwarderError, SettingsError, VaultError
from forwarder.settings import ConfigSource, LocalSettings, load, load_local
from forwarder.settings.edit import set_value
from forwarder.settings.load import overriding_variable
from forwarder.vault import NAMES, Vault
from forwarder.web import settings_form
from forwarder.web.checklist import CHECK_RECORD, read_checklist
from forwarder.web.context import CONTEXT, WebContext
from forwarder.web.form_body import read_form
from forwarder.web.middleware import CHANGED_FIELDS
from forwarder.web.rendering import redirect_to, render_page
from forwarder.web.settings_changes import field_errors, locked_files, save_changes
from forwarder.web.settings_form import SettingsChanges
from forwarder.web.status_cache import STATUS_CACHE

RELOAD_POLL_SECONDS, MAX_RELOAD_POLLS = 0.05, 40
"""The interval and the largest number of checks whether a change is in force. The daemon reloads within a second."""

FILE_DIGEST_FIELD = "file-digest"
"""The field with the digest of the settings file that the form shows."""

FILE_CHANGED = "The settings file has changed since this page was loaded: check it again, then save"

SAVED = {"level": "good", "text": "Saved. It takes effect within a second, without a restart."}
SAVED_INCOMPLETE = {"level": "wary", "text": "Saved. The checklist names what is still missing."}


async def show_settings(request: web.Request) -> web.Response:
    is_saved = "saved" in request.query
    values = await asyncio.to_thread(form_values, request)
    values["checks_on_load"] |= is_saved
    saved = SAVED if values["checklist"].is_complete else SAVED_INCOMPLETE
    return render_page(request, "settings.html", **values, notice=saved if is_saved else None)


async def save_settings(request: web.Request) -> web.Response:
    """Save the form, or return it with its errors. Nothing is saved if a value is invalid."""
    context, given = request.app[CONTEXT], normalize_newlines(await read_form(request))
    changed: list[str] = []
    try:
        changed, faults = await asyncio.to_thread(_save, context, given)
    except ForwarderError as error:
        faults = {"": format_error(error)}
    if not faults:
        request[CHANGED_FIELDS] = tuple(changed)
        return redirect_to("/settings?saved")
    values = await asyncio.to_thread(form_values, request, given)
    first = next((name for name in settings_form.INPUT_NAMES if name in faults), "")
    refusal = {"faults": faults, "first_invalid": first, "checks_on_load": False}
    return render_page(request, "settings.html", status=422, **(values | refusal), notice=None)


def _save(context: WebContext, given: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Save a form. Return the names of its changes, and the errors by input: nothing is saved if there are any.

    Raise SettingsError or VaultError as `save_changes` does.
    """
    with locked_files(context.config_source):
        digest = file_digest(context)
        changes = read_changes(context, given)
        # A change made meanwhile must not be undone. A form that is sent twice undoes nothing. An editor has no lock.
        if changes.values and {given.get(FILE_DIGEST_FIELD, digest), file_digest(context)} != {digest}:
            return [], {"": FILE_CHANGED}
        return changes.changed, save_changes(context.config_source, changes, context.clock.now())


def read_changes(context: WebContext, given: Mapping[str, str]) -> SettingsChanges:
    """Return the changes of a form, compared with the settings file."""
    current = settings_form.current_texts(context.config_source, context.settings())
    return settings_form.parse_changes(context.config_source, current, given)


async def switch_forwarding(request: web.Request) -> web.Response:
    """Switch forwarding on or off in the settings file. Raise HTTPConflict if the file cannot be changed."""
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


def form_values(request: web.Request, given: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the values of the template `settings.html`. Inputs have the values of `given`, else of the file.

    Inputs of secrets are empty, and `lost_secrets` names those that `given` has: a response never holds a secret.
    This reads the settings file and the vault.
    """
    context = request.app[CONTEXT]
    config_source = context.config_source
    texts = settings_form.current_texts(config_source, context.settings())
    vault, faults = dict[str, dict[str, Any]](), dict[str, str]()
    try:
        vault = stored_secrets(config_source, load_local(config_source))
        load(config_source)
    except (SettingsError, VaultError) as error:
        faults = _faults_on_load(error, texts)
    keys = ["enabled", *(each.name for each in settings_form.FIELDS)]
    variables = {key: variable for key in keys if (variable := overriding_variable(config_source, key))}
    values = {
        each.name: texts[each.name]
        if given is None or each.name in variables
        else settings_form.submitted_text(each, texts, given)
        for each in settings_form.FIELDS
    }
    checklist = read_checklist(context, request.app[CHECK_RECORD])
    return {
        "active": "settings",
        "file_digest": file_digest(context),
        "form": settings_form,
        "values": values,
        "variables": variables,
        "vault": vault,
        "faults": faults,
        "first_invalid": "",
        "lost_secrets": [each.label for each in settings_form.SECRETS if (given or {}).get(each.name)],
        "enabled": is_enabled(context),
        "checklist": checklist,
        "checks_on_load": checklist.attention_count > 0,
        "has_steps": False,
        "workflow_list": None,
    }


def _faults_on_load(error: ForwarderError, texts: Mapping[str, str]) -> dict[str, str]:
    """Return the faults of files that no form was sent for. The checklist names the values that are not entered yet."""
    if not isinstance(error, SettingsError) or not error.faults:
        return {"": format_error(error)}
    faults = field_errors(error)
    elsewhere = {"": format_error(error)} if faults.pop("", "") else {}
    return elsewhere | {name: fault for name, fault in faults.items() if texts[name]}


def is_enabled(context: WebContext) -> bool:
    """Return the switch in the settings file, or the one in force if the file is not valid."""
    try:
        return load_local(context.config_source).enabled
    except SettingsError:
        return context.settings().enabled


def file_digest(context: WebContext) -> str:
    """Return the SHA-256 of the settings file in hex, or an empty text if it cannot be read."""
    try:
        return hashlib.sha256(context.config_source.file.read_bytes()).hexdigest()
    except OSError:
        return ""


def stored_secrets(config_source: ConfigSource, settings: LocalSettings) -> dict[str, dict[str, Any]]:
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
