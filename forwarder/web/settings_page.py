"""The settings page: the switch, and the form that saves to the settings file and the vault."""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from forwarder.errors import ForwarderError, SettingsError, VaultError
from forwarder.settings import Place, Settings, load
from forwarder.settings.edit import set_value
from forwarder.settings.load import overridden
from forwarder.vault import NAMES, Vault
from forwarder.web import form
from forwarder.web.board import BOARD
from forwarder.web.desk import DESK, Desk
from forwarder.web.form_body import read_form
from forwarder.web.guard import CHANGED
from forwarder.web.pages import go_to, page

LOOK_EVERY, MOST_LOOKS = 0.05, 40
"""Seconds between two looks, and how many: a change of the settings file is taken up within a second."""

AS_OF = "as-of"
"""The field with the digest of the file that the form was filled in from."""

CHANGED_SINCE = "The settings file has changed since this page was shown: look at it again, then save"

SAVED = {"kind": "good", "text": "Saved. It takes effect within a second, without a restart."}


async def show(request: web.Request) -> web.Response:
    values = await asyncio.to_thread(form_values, request.app[DESK])
    notice = SAVED if "saved" in request.query else None
    return page(request, "settings.html", **values, notice=notice)


async def save(request: web.Request) -> web.Response:
    desk, given = request.app[DESK], texts(await read_form(request))
    submitted = form.submitted(desk.place, in_file(desk), given)
    try:
        if given.get(AS_OF, digest := as_of(desk)) != digest:  # what was written meanwhile must not be undone
            faults = {"": CHANGED_SINCE}
        else:
            faults = await asyncio.to_thread(form.save, desk.place, submitted, desk.clock.now())
    except ForwarderError as error:
        faults = {"": told(error)}
    if not faults:
        request[CHANGED] = tuple(submitted.changed)
        return go_to("/settings?saved")
    values = await asyncio.to_thread(form_values, desk, given)
    return page(request, "settings.html", status=422, **(values | {"faults": faults}), notice=None)


async def switch(request: web.Request) -> web.Response:
    desk, given = request.app[DESK], texts(await read_form(request))
    on = bool(given.get("on"))
    try:
        await asyncio.to_thread(set_value, desk.place, "enabled", on)
    except SettingsError as error:
        raise web.HTTPConflict(reason=told(error)) from None
    await _in_force(desk, enabled=on)
    request.app[BOARD].forget()
    request[CHANGED] = ("enabled",)
    return go_to("/settings" if given.get("from") == "settings" else "/")


async def _in_force(desk: Desk, *, enabled: bool) -> None:
    """Until the daemon has taken it up, so that the next page shows it; not for ever, for it may be refused."""
    for _ in range(MOST_LOOKS):
        if desk.settings().enabled is enabled:
            return
        await desk.clock.sleep(LOOK_EVERY)


def form_values(desk: Desk, given: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the template shows: what was given, where something was, else what stands in the file. Reads files."""
    settings, faults = in_file(desk), dict[str, str]()
    try:
        load(desk.place)
        vault = stored(desk.place, settings)
    except (SettingsError, VaultError) as error:
        vault, faults = {}, {"": told(error)}
    keys = ["enabled", *(each.name for each in form.FIELDS)]
    variables = {key: variable for key in keys if (variable := overridden(desk.place, key))}
    values = {
        each.name: form.shown(settings, each.name)
        if given is None or each.name in variables
        else given.get(each.name, "")
        for each in form.FIELDS
    }
    return {
        "here": "settings",
        "as_of": as_of(desk),
        "form": form,
        "values": values,
        "variables": variables,
        "vault": vault,
        "faults": faults,
        "enabled": settings.enabled,
        "tries": False,
    }


def as_of(desk: Desk) -> str:
    """Of the file as it stands; empty where it cannot be read."""
    try:
        return hashlib.sha256(desk.place.file.read_bytes()).hexdigest()
    except OSError:
        return ""


def in_file(desk: Desk) -> Settings:
    """Those of the file, which may be a moment ahead of those in force; where it is not valid, those in force."""
    try:
        return load(desk.place)
    except SettingsError:
        return desk.settings()


def stored(place: Place, settings: Settings) -> dict[str, dict[str, Any]]:
    """Of each secret that is set: when it was, and its end."""
    vault = Vault.open(place, settings)
    return {
        name: {"set_at": set_at, "ending": vault.ending(name)}
        for name in NAMES
        if (set_at := vault.set_at(name)) is not None
    }


def texts(given: Mapping[str, str]) -> dict[str, str]:
    """The fields with the line ends that files have."""
    return {name: value.replace("\r\n", "\n") for name, value in given.items()}


def told(error: ForwarderError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


ROUTES = [
    web.get("/settings", show, name="settings"),
    web.post("/settings", save, name="save"),
    web.post("/switch", switch, name="switch"),
]
