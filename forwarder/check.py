"""Trying every part once, in the order in which they depend on each other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from pydantic import SecretStr

from forwarder import files
from forwarder.alloy.client import LogsClient
from forwarder.alloy.discovery import Discovery
from forwarder.aws.bus import ClassicBus
from forwarder.aws.credential_chain import KeySession, find_keys
from forwarder.aws.credential_sources import configured_address
from forwarder.aws.credentials import Identity, StoredKeys
from forwarder.aws.request_errors import VERIFY_OFF
from forwarder.clock import Clock
from forwarder.errors import (
    DescribeDenied,
    DestinationError,
    DestinationRefused,
    DestinationUnavailable,
    ForwarderError,
    SettingsError,
    VaultError,
)
from forwarder.ledger import ledger_file, open_ledger, require_ledger, require_writable
from forwarder.machine_errors import machine_error
from forwarder.model import Feed
from forwarder.settings import Place, Settings, load, load_local
from forwarder.settings.fields import LocalSettings
from forwarder.vault import ALLOY_API_KEY, Vault


@dataclass(frozen=True, slots=True)
class Step:
    """One line. `said` is what was found where it is well; `error` what is wrong where it is not."""

    name: str
    said: str = ""
    error: ForwarderError | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What a connection is tried with: settings, and the secrets that go with them."""

    settings: Settings
    alloy_key: SecretStr | None
    stored_keys: StoredKeys | None

    @property
    def identity(self) -> Identity:
        return Identity(self.settings.destination, self.stored_keys)


async def steps(place: Place, clock: Clock) -> AsyncIterator[Step]:
    """Yield each step as soon as its result is known. A step runs unless it needs what an earlier one lacks."""
    settings: Settings | None = None
    try:
        settings = load(place)
        yield _settings(place, settings)
    except Exception as error:  # noqa: BLE001  # as in `_tried`
        yield Step("settings", error=_shown(error))
    try:
        local = settings or load_local(place)
    except Exception:  # noqa: BLE001  # the fault that is reported concerns every other step too
        return
    yield await _tried("vault", lambda: asyncio.to_thread(_vault, place, local))
    if settings is not None:
        async for step in _ends(place, settings, clock):
            yield step
    yield await _tried("books", lambda: _books(place, local))


def _settings(place: Place, settings: Settings) -> Step:
    if files.is_cut_off(place.file):
        message = f"{place.file} was replaced outside of this container: this is its old content"
        return Step("settings", error=SettingsError(message, hint=files.CUT_OFF_HINT))
    return Step("settings", f"{place.file}, switched {'on' if settings.enabled else 'off'}")


async def _ends(place: Place, settings: Settings, clock: Clock) -> AsyncIterator[Step]:
    """Yield the steps of both ends, as far as the secrets for them can be read: the step of the vault says why not."""
    try:
        vault = await asyncio.to_thread(Vault.open, place, settings)
        key = vault.reveal(ALLOY_API_KEY)
    except Exception:  # noqa: BLE001  # as above
        return
    yield await _tried("logs API", lambda: _logs_api(settings, key, clock))
    try:
        identity = Identity(settings.destination, StoredKeys.of(vault))
    except VaultError:
        return
    async for step in _aws(identity, clock):
        yield step


async def connection(trial: Trial, clock: Clock) -> AsyncIterator[Step]:
    """Yield the steps of both ends: logs API and AWS."""
    yield await _tried("logs API", lambda: _logs_api(trial.settings, trial.alloy_key, clock))
    async for step in _aws(trial.identity, clock):
        yield step


async def _tried(name: str, attempt: Callable[[], Awaitable[str]]) -> Step:
    """Return the step with what its attempt found or raised."""
    try:
        return Step(name, await attempt())
    except Exception as error:  # noqa: BLE001  # a fault of ours in one step must not hide the others
        return Step(name, error=_shown(error))


def _shown(error: Exception) -> ForwarderError:
    if isinstance(error, ForwarderError):
        return error
    if explained := machine_error(error):
        return explained
    kind = type(error).__name__
    return ForwarderError(f"failed inside the forwarder: {kind}", hint="report this, with the version of the forwarder")


def _vault(place: Place, settings: LocalSettings) -> str:
    vault = Vault.open(place, settings)
    StoredKeys.of(vault)
    if warnings := vault.warnings():
        raise VaultError("; ".join(warnings), hint="chmod 600")
    return f"{vault.file}, opened with {vault.key.origin}"


async def _logs_api(settings: Settings, key: SecretStr | None, clock: Clock) -> str:
    if key is None:
        raise VaultError(f"the vault holds no {ALLOY_API_KEY}", hint=f"`forwarder keys set {ALLOY_API_KEY}`")
    async with LogsClient(settings.source, key, clock) as client:
        feeds: list[Feed] = list(settings.source.workflows)
        if settings.source.discover:
            feeds += (await Discovery(client).look()).feeds
        if not feeds:
            raise SettingsError("there is nothing to watch", hint="list workflows in [source], or set discover = true")
        page = await client.page(feeds[0], 0, settings.source.page_size)
    return f"{len(page.records.executions)} executions on the first page of {feeds[0]}"


async def _aws(identity: Identity, clock: Clock) -> AsyncIterator[Step]:
    """Try AWS by the daemon's own way: the same credentials, clients and certificates."""
    session = identity.session()
    keys = await _tried("AWS identity", lambda: _keys(session))
    if keys.error is not None:
        yield keys
        yield Step("event bus", error=_needs_keys(keys.error))
        return
    yield await _tried("AWS identity", lambda: identity.caller(session))
    yield await _tried("event bus", lambda: _event_bus(identity, session, clock))


async def _keys(session: KeySession) -> str:
    await find_keys(session)
    return ""


def _needs_keys(error: ForwarderError) -> ForwarderError:
    needs = "not checked: it needs AWS credentials, which the step before this one did not find"
    if isinstance(error, DestinationUnavailable):
        return DestinationUnavailable(needs, code=error.code)
    return (
        DestinationRefused(needs, code="credentials") if isinstance(error, DestinationError) else ForwarderError(needs)
    )


async def _event_bus(identity: Identity, session: KeySession, clock: Clock) -> str:
    destination = identity.destination
    if not destination.verify:
        return f"{destination.event_bus} in {destination.region}, not verified: destination.verify is false"
    try:
        async with ClassicBus(identity, clock) as bus:
            await bus.look_for(bus.name)
    except DescribeDenied as error:
        why = f"it is unknown whether it exists: {error.code} for events:DescribeEventBus"
        raise DescribeDenied(why, code=error.code, hint=f"{error.hint}; {VERIFY_OFF}") from None
    elsewhere = "" if destination.endpoint_url else configured_address(session, "EVENTBRIDGE")
    return f"{destination.event_bus} exists in {destination.region}{f', at {elsewhere}' if elsewhere else ''}"


async def _books(place: Place, settings: LocalSettings) -> str:
    file = ledger_file(place, settings)
    require_ledger(file)
    if not file.exists():
        return "no ledger yet: the first run makes it"
    require_writable(file)
    async with open_ledger(place, settings) as ledger:
        books = await ledger.audit()
    return f"balanced: {books.recorded} recorded, {books.owed} owed, {books.sent} sent, {books.dead} dead"
