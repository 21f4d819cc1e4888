"""Trying every part once, in the order in which they depend on each other."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from forwarder.alloy.client import LogsClient
from forwarder.alloy.discovery import Discovery
from forwarder.aws.answers import MAY_NOT, request_error
from forwarder.aws.credentials import Identity, StoredKeys, config
from forwarder.clock import Clock
from forwarder.errors import DestinationRefused, DestinationUnavailable, ForwarderError, SettingsError, VaultError
from forwarder.ledger import ledger_file, open_ledger
from forwarder.model import Feed
from forwarder.settings import Place, Settings, load
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
    """Each as soon as it is known; those that need what failed are left out."""
    try:
        settings = load(place)
    except SettingsError as error:
        yield Step("settings", error=error)
        return
    yield Step("settings", f"{place.file}, switched {'on' if settings.enabled else 'off'}")
    try:
        vault = Vault.open(place, settings)
        stored = StoredKeys.of(vault)
    except VaultError as error:
        yield Step("vault", error=error)
        return
    yield _vault(vault)
    async for step in connection(Trial(settings, vault.reveal(ALLOY_API_KEY), stored), clock):
        yield step
    yield await _books(place, settings)


async def connection(trial: Trial, clock: Clock) -> AsyncIterator[Step]:
    """Those of both ends, logs API and AWS."""
    yield await _logs_api(trial, clock)
    async for step in _aws(trial.identity):
        yield step


def _vault(vault: Vault) -> Step:
    warnings = vault.warnings()
    if warnings:
        return Step("vault", error=VaultError("; ".join(warnings), hint="chmod 600"))
    return Step("vault", f"{vault.file}, opened with {vault.key.origin}")


async def _logs_api(trial: Trial, clock: Clock) -> Step:
    name, settings, key = "logs API", trial.settings, trial.alloy_key
    try:
        if key is None:
            raise VaultError(f"the vault holds no {ALLOY_API_KEY}", hint=f"`forwarder keys set {ALLOY_API_KEY}`")
        async with LogsClient(settings.source, key, clock) as client:
            feeds: list[Feed] = list(settings.source.workflows)
            if settings.source.discover:
                feeds += (await Discovery(client).look()).feeds
            if not feeds:
                raise SettingsError(
                    "there is nothing to watch", hint="list workflows in [source], or set discover = true"
                )
            page = await client.page(feeds[0], 0, settings.source.page_size)
    except ForwarderError as error:
        return Step(name, error=error)
    return Step(name, f"{len(page.records.executions)} executions on the first page of {feeds[0]}")


async def _aws(identity: Identity) -> AsyncIterator[Step]:
    """Through the synchronous SDK, in a thread: another way to the same bus than the daemon's own."""
    try:
        session = await asyncio.to_thread(identity.blocking_session)
    except (BotoCoreError, ClientError) as error:
        yield Step("AWS identity", error=_meant(error))
        yield Step("event bus", error=_meant(error))
        return
    try:
        arn = await asyncio.to_thread(_caller, session, identity)
    except (BotoCoreError, ClientError) as error:
        yield Step("AWS identity", error=_meant(error))
    else:
        yield Step("AWS identity", f"{arn}, with keys from {identity.origin}")
    try:
        bus = await asyncio.to_thread(_describe, session, identity)
    except (BotoCoreError, ClientError) as error:
        yield Step("event bus", error=_not_described(error))
    else:
        yield Step("event bus", bus)


def _caller(session: Any, identity: Identity) -> str:
    return str(
        session.client("sts", **identity.sts_options(), config=config(identity.destination)).get_caller_identity()[
            "Arn"
        ]
    )


def _describe(session: Any, identity: Identity) -> str:
    destination = identity.destination
    client = session.client("events", endpoint_url=destination.endpoint_url or None, config=config(destination))
    return str(client.describe_event_bus(Name=destination.event_bus)["Arn"])


def _meant(error: Exception) -> ForwarderError:
    meant = request_error(error)
    if isinstance(meant, ForwarderError):
        return meant
    return DestinationUnavailable(f"AWS did not answer: {meant.reason}", code="unreachable")


def _not_described(error: Exception) -> ForwarderError:
    meant = request_error(error)
    if isinstance(meant, DestinationRefused) and meant.code in MAY_NOT:
        why = f"whether it exists cannot be told: {meant.code} for events:DescribeEventBus"
        return DestinationRefused(why, code=meant.code, hint="allow events:DescribeEventBus on it")
    return _meant(error)


async def _books(place: Place, settings: Settings) -> Step:
    if not ledger_file(place, settings).exists():
        return Step("books", "no ledger yet: the first run makes it")
    try:
        async with open_ledger(place, settings) as ledger:
            books = await ledger.audit()
    except ForwarderError as error:
        return Step("books", error=error)
    return Step(
        "books",
        f"balanced: {books.recorded} recorded, {books.owed} owed, {books.sent} sent, {books.dead} dead",
    )
