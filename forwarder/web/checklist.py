"""The checklist of the settings page: each part of a connection, its state, and the result of its last check.

The checks advise. They block neither a save nor the forwarding.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from aiohttp import web

from forwarder.diagnostics import CheckResult
from forwarder.diagnostics.destination import EVENT_BUS, IDENTITY, NO_CREDENTIALS
from forwarder.diagnostics.source import LOGS_API, WORKFLOWS
from forwarder.errors import SettingsError, VaultError
from forwarder.settings import load, load_local
from forwarder.vault import ALLOY_API_KEY, AWS_ACCESS_KEY_ID, NAMES, Vault
from forwarder.web.connection_checks import TEST_EVENT, check_connection
from forwarder.web.context import CONTEXT, WebContext
from forwarder.web.iam_policy import IamPolicy
from forwarder.web.rendering import RENDERER
from forwarder.web.settings_changes import field_errors
from forwarder.web.settings_form import SettingsChanges, current_texts


class ItemState(StrEnum):
    """The state of an item: its values are missing or set, and their check passed or failed."""

    MISSING = "missing"
    SET = "set"
    CHECKED = "checked"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a connection. `fields` are its inputs, of which the first is linked; `check` is the check it has."""

    id: str
    label: str
    check: str
    fields: tuple[str, ...]


PARTS = (
    Part("alloy-key", "Alloy API key", LOGS_API, (ALLOY_API_KEY, "source.base_url", "source.version")),
    Part("workflows", "Workflows", WORKFLOWS, ("source.workflows",)),
    Part("aws-keys", "AWS keys or role", IDENTITY, (AWS_ACCESS_KEY_ID, "destination.role_arn")),
    Part("bus", "Event bus name and region", EVENT_BUS,
         ("destination.event_bus", "destination.region", "destination.endpoint_url")),
    Part("test-event", "Test event", TEST_EVENT, ("event.source", "event.detail_type")),
)  # fmt: skip

AMBIENT_KEYS = "Without keys, those of the forwarder's environment are used, if it has any"


@dataclass(frozen=True, slots=True)
class Item:
    """A part with its state, the result of its check, and the policy that the part needs, if it needs one.

    A part that is optional may be missing: the values may come from elsewhere.
    """

    part: Part
    state: ItemState
    message: str = ""
    hint: str = ""
    is_optional: bool = False
    policy: IamPolicy | None = None

    @property
    def needs_attention(self) -> bool:
        return self.state is ItemState.FAILED or (self.state is ItemState.MISSING and not self.is_optional)


@dataclass(frozen=True, slots=True)
class Checklist:
    """The items of the page, one for each of PARTS."""

    items: tuple[Item, ...]

    @property
    def is_complete(self) -> bool:
        return not any(item.state is ItemState.MISSING and item.needs_attention for item in self.items)

    @property
    def attention_count(self) -> int:
        return sum(item.needs_attention for item in self.items)


class CheckRecord:
    """The last result of each check of the saved settings and secrets. A change of either makes them obsolete."""

    def __init__(self) -> None:
        self._results: dict[str, CheckResult] = {}
        self._digest = ""

    def add(self, digest: str, result: CheckResult) -> None:
        """Add the result of a check that began when the files had this digest."""
        if digest != self._digest:
            self._digest, self._results = digest, {}
        self._results[result.name] = result

    def results(self, digest: str) -> Mapping[str, CheckResult]:
        return self._results if digest == self._digest else {}


CHECK_RECORD = web.AppKey("check_record", CheckRecord)


def connection_digest(context: WebContext) -> str:
    """Return a digest of the settings file and the vault. It changes with each of them."""
    digest = hashlib.sha256()
    try:
        digest.update(context.config_source.file.read_bytes())
        digest.update(context.config_source.path(load_local(context.config_source).vault.file).read_bytes())
    except (OSError, SettingsError):  # a file that is missing has no content
        pass
    return digest.hexdigest()


def read_checklist(context: WebContext, record: CheckRecord) -> Checklist:
    """Return the checklist of the saved settings and secrets. This reads the settings file and the vault."""
    texts = current_texts(context.config_source, context.settings())
    stored, faults = _stored_names(context), _faults(context)
    results = record.results(connection_digest(context))
    items = [_item(part, texts, stored, faults, results) for part in PARTS]
    identity = results.get(IDENTITY)
    policy = IamPolicy.of(texts, identity.message if identity else "")
    return Checklist(tuple(replace(item, policy=policy) if item.part.check == IDENTITY else item for item in items))


def _item(
    part: Part,
    texts: Mapping[str, str],
    stored: frozenset[str],
    faults: Mapping[str, str],
    results: Mapping[str, CheckResult],
) -> Item:
    if missing := _missing(part, texts, stored):
        return Item(part, ItemState.MISSING, missing)
    if fault := next((faults[name] for name in part.fields if name in faults), ""):
        return Item(part, ItemState.FAILED, fault)
    return _item_without_keys(part, texts, stored, results) or _checked_item(part, results.get(part.check))


def _item_without_keys(
    part: Part, texts: Mapping[str, str], stored: frozenset[str], results: Mapping[str, CheckResult]
) -> Item | None:
    """Return the item of a part of AWS if no keys are entered, or if the check found none. Return None otherwise."""
    result = results.get(part.check)
    if part.check == EVENT_BUS and _lacks_credentials(results):
        return Item(part, ItemState.SET, "Not checked without AWS credentials")
    if part.check != IDENTITY or AWS_ACCESS_KEY_ID in stored or texts["destination.role_arn"]:
        return None
    if result is None or (result.skipped and EVENT_BUS not in results):
        return Item(part, ItemState.MISSING, AMBIENT_KEYS, is_optional=True)
    if result.error is not None and _lacks_credentials(results):
        return Item(part, ItemState.MISSING, result.error.message, result.error.hint)
    return None


def _checked_item(part: Part, result: CheckResult | None) -> Item:
    if result is None or result.skipped:
        return Item(part, ItemState.SET, result.message if result else "")
    if result.error is not None:
        return Item(part, ItemState.FAILED, result.error.message, result.error.hint)
    return Item(part, ItemState.CHECKED, result.message)


def _lacks_credentials(results: Mapping[str, CheckResult]) -> bool:
    bus = results.get(EVENT_BUS)
    return bus is not None and bus.error is not None and bus.error.message == NO_CREDENTIALS


def _missing(part: Part, texts: Mapping[str, str], stored: frozenset[str]) -> str:
    """Return a message about the values that are not entered, or an empty text."""
    if part.check == LOGS_API and ALLOY_API_KEY not in stored:
        return "Not entered"
    if part.check == WORKFLOWS and not (texts["source.workflows"] or texts["source.discover"]):
        return "Not chosen"
    if part.check == EVENT_BUS:
        labels = {"name": "destination.event_bus", "region": "destination.region"}
        if missing := [label for label, name in labels.items() if not texts[name]]:
            return f"Not entered: {' and '.join(missing)}"
    return ""


def _stored_names(context: WebContext) -> frozenset[str]:
    try:
        vault = Vault.open(context.config_source, load_local(context.config_source))
    except (SettingsError, VaultError):
        return frozenset()
    return frozenset(name for name in NAMES if vault.set_at(name) is not None)


def _faults(context: WebContext) -> dict[str, str]:
    try:
        load(context.config_source)
    except SettingsError as error:
        return field_errors(error)
    return {}


async def recorded(
    record: CheckRecord, context: WebContext, given: SettingsChanges, results: AsyncIterator[CheckResult]
) -> AsyncIterator[CheckResult]:
    """Yield the results, and record them if they are about the saved settings, without changes of a form."""
    digest = "" if given.changed else await asyncio.to_thread(connection_digest, context)
    async for result in results:
        if digest:
            record.add(digest, result)
        yield result


async def show_checklist(request: web.Request) -> web.Response:
    """Return the items, one a line. The page's script replaces its own by them."""
    context, record = request.app[CONTEXT], request.app[CHECK_RECORD]
    checklist = await asyncio.to_thread(read_checklist, context, record)
    return web.Response(text="".join(_lines(request, checklist)), content_type="text/html")


async def check_saved_settings(request: web.Request) -> web.StreamResponse:
    """Check the saved settings and secrets, and send the items again after each result, one a line."""
    context, record = request.app[CONTEXT], request.app[CHECK_RECORD]
    response = web.StreamResponse(headers={"Content-Type": "text/html; charset=utf-8"})
    await response.prepare(request)
    given = SettingsChanges()
    sent: frozenset[str] = frozenset()
    async for _ in recorded(record, context, given, check_connection(context, given)):
        lines = frozenset(_lines(request, await asyncio.to_thread(read_checklist, context, record)))
        await response.write("".join(lines - sent).encode())
        sent = lines
    return response


def _lines(request: web.Request, checklist: Checklist) -> list[str]:
    renderer = request.app[RENDERER]
    return [f"{' '.join(renderer.render('checklist_item.html', item=item).split())}\n" for item in checklist.items]


ROUTES = [
    web.get("/settings/checklist", show_checklist, name="checklist"),
    web.post("/settings/checklist", check_saved_settings, name="checklist-check"),
]
