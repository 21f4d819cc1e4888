"""The checks of `forwarder check` and of the web UI. Each checks one component, in the order of dependencies."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from pydantic import SecretStr

from forwarder import atomicfile
from forwarder.alloy.client import LogsClient
from forwarder.alloy.discovery import Discovery
from forwarder.aws.credential_chain import KeySession, load_keys
from forwarder.aws.credential_sources import configured_address
from forwarder.aws.credentials import Identity, StoredKeys
from forwarder.aws.eventbridge import EventBridgeBus
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
from forwarder.settings import ConfigSource, Settings, load, load_local
from forwarder.settings.models import LocalSettings
from forwarder.vault import ALLOY_API_KEY, Vault, missing_secret_error


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check. It has a `message` if the check succeeded, and an `error` if it failed."""

    name: str
    message: str = ""
    error: ForwarderError | None = None


@dataclass(frozen=True, slots=True)
class ConnectionTest:
    """The settings of a connection to check, and their secrets."""

    settings: Settings
    alloy_key: SecretStr | None
    stored_keys: StoredKeys | None

    @property
    def identity(self) -> Identity:
        return Identity(self.settings.destination, self.stored_keys)


async def run_checks(config_source: ConfigSource, clock: Clock) -> AsyncIterator[CheckResult]:
    """Yield each result as soon as it is known. A check is skipped if an earlier failure makes it impossible."""
    settings: Settings | None = None
    try:
        settings = load(config_source)
        yield _check_settings(config_source, settings)
    except Exception as error:  # noqa: BLE001  # as in `_run_check`
        yield CheckResult("settings", error=_to_forwarder_error(error))
    try:
        local = settings or load_local(config_source)
    except Exception:  # noqa: BLE001  # it is reported already, and no other check can run
        return
    yield await _run_check("vault", lambda: asyncio.to_thread(_check_vault, config_source, local))
    if settings is not None:
        async for step in _check_endpoints(config_source, settings, clock):
            yield step
    yield await _run_check("counters", lambda: _check_counters(config_source, local))


def _check_settings(config_source: ConfigSource, settings: Settings) -> CheckResult:
    if atomicfile.is_stale_mount(config_source.file):
        message = f"{config_source.file} was replaced outside of this container: this is its old content"
        return CheckResult("settings", error=SettingsError(message, hint=atomicfile.STALE_MOUNT_HINT))
    return CheckResult("settings", f"{config_source.file}, switched {'on' if settings.enabled else 'off'}")


async def _check_endpoints(config_source: ConfigSource, settings: Settings, clock: Clock) -> AsyncIterator[CheckResult]:
    """Yield the checks of the logs API and of AWS. Omit a check if its secrets cannot be read."""
    try:
        vault = await asyncio.to_thread(Vault.open, config_source, settings)
        key = vault.reveal(ALLOY_API_KEY)
    except Exception:  # noqa: BLE001  # the check of the vault reports it
        return
    yield await _run_check("logs API", lambda: _check_logs_api(settings, key, clock))
    try:
        identity = Identity(settings.destination, StoredKeys.of(vault))
    except VaultError:
        return
    async for step in _check_aws(identity, clock):
        yield step


async def run_connection_checks(trial: ConnectionTest, clock: Clock) -> AsyncIterator[CheckResult]:
    """Yield the checks of the logs API and of AWS."""
    yield await _run_check("logs API", lambda: _check_logs_api(trial.settings, trial.alloy_key, clock))
    async for step in _check_aws(trial.identity, clock):
        yield step


async def _run_check(name: str, attempt: Callable[[], Awaitable[str]]) -> CheckResult:
    """Run one check, and return its message or its error as a result."""
    try:
        return CheckResult(name, await attempt())
    except Exception as error:  # noqa: BLE001  # a bug in one check must not hide the others
        return CheckResult(name, error=_to_forwarder_error(error))


def _to_forwarder_error(error: Exception) -> ForwarderError:
    if isinstance(error, ForwarderError):
        return error
    if explained := machine_error(error):
        return explained
    exception = type(error).__name__
    return ForwarderError(
        f"failed inside the forwarder: {exception}", hint="report this, with the version of the forwarder"
    )


def _check_vault(config_source: ConfigSource, settings: LocalSettings) -> str:
    vault = Vault.open(config_source, settings)
    StoredKeys.of(vault)
    if warnings := vault.warnings():
        raise VaultError("; ".join(warnings), hint="chmod 600")
    return f"{vault.file}, opened with {vault.key.origin}"


async def _check_logs_api(settings: Settings, key: SecretStr | None, clock: Clock) -> str:
    if key is None:
        raise missing_secret_error(ALLOY_API_KEY)
    async with LogsClient(settings.source, key, clock) as client:
        feeds: list[Feed] = list(settings.source.workflows)
        if settings.source.discover:
            feeds += (await Discovery(client).discover()).feeds
        if not feeds:
            raise SettingsError("there are no workflows to poll", hint="list them in [source], or set discover = true")
        page = await client.fetch_page(feeds[0], 0, settings.source.page_size)
    return f"{len(page.records.executions)} executions on the first page of {feeds[0]}"


async def _check_aws(identity: Identity, clock: Clock) -> AsyncIterator[CheckResult]:
    """Yield the checks of AWS. They use the same credentials, clients and certificates as the daemon."""
    session = identity.session()
    keys = await _run_check("AWS identity", lambda: _find_credentials(session))
    if keys.error is not None:
        yield keys
        yield CheckResult("event bus", error=_missing_credentials(keys.error))
        return
    yield await _run_check("AWS identity", lambda: identity.caller(session))
    yield await _run_check("event bus", lambda: _check_event_bus(identity, session, clock))


async def _find_credentials(session: KeySession) -> str:
    await load_keys(session)
    return ""


def _missing_credentials(error: ForwarderError) -> ForwarderError:
    needs = "not checked: it needs AWS credentials, which the step before this one did not find"
    if isinstance(error, DestinationUnavailable):
        return DestinationUnavailable(needs, code=error.code)
    return (
        DestinationRefused(needs, code="credentials") if isinstance(error, DestinationError) else ForwarderError(needs)
    )


async def _check_event_bus(identity: Identity, session: KeySession, clock: Clock) -> str:
    destination = identity.destination
    if not destination.verify:
        return f"{destination.event_bus} in {destination.region}, not verified: destination.verify is false"
    try:
        async with EventBridgeBus(identity, clock) as bus:
            await bus.describe(bus.name)
    except DescribeDenied as error:
        reason = f"it is unknown whether it exists: {error.code} for events:DescribeEventBus"
        raise DescribeDenied(reason, code=error.code, hint=f"{error.hint}; {VERIFY_OFF}") from None
    endpoint = "" if destination.endpoint_url else configured_address(session, "EVENTBRIDGE")
    return f"{destination.event_bus} exists in {destination.region}{f', at {endpoint}' if endpoint else ''}"


async def _check_counters(config_source: ConfigSource, settings: LocalSettings) -> str:
    file = ledger_file(config_source, settings)
    require_ledger(file)
    if not file.exists():
        return "no ledger yet: the first run creates it"
    require_writable(file)
    async with open_ledger(config_source, settings) as ledger:
        counters = await ledger.audit()
    states = f"{counters.pending} pending, {counters.sent} sent, {counters.dead} dead"
    return f"balanced: {counters.recorded} recorded, {states}"
