"""The checks of `forwarder check` and of the web UI. Each checks one component, in the order of dependencies."""

import asyncio
from collections.abc import AsyncIterator, Callable

from forwarder.aws.credentials import Identity, StoredKeys
from forwarder.clock import Clock
from forwarder.diagnostics.destination import (
    PAYLOADS,
    PUBLISHING,
    Proof,
    check_destination,
    check_payloads,
    check_publishing,
    prove_arrival,
)
from forwarder.diagnostics.local import (
    SETTINGS,
    VAULT,
    check_counters,
    check_environment,
    check_settings,
    check_vault,
)
from forwarder.diagnostics.results import CheckResult, run_check, to_forwarder_error
from forwarder.diagnostics.source import check_source
from forwarder.errors import VaultError
from forwarder.settings import ConfigSource, Settings, load, load_local
from forwarder.vault import ALLOY_API_KEY, Vault

__all__ = [
    "CheckResult",
    "Proof",
    "check_destination",
    "check_publishing",
    "check_source",
    "prove_arrival",
    "run_check",
    "run_checks",
]

WEB_UI = "web UI"

NOT_STORED = "not tried, because a test object would be stored: --send tries it"
NOT_SENT = "not tried, because a test event would be published: --send tries it, and --prove also whether it arrives"


async def run_checks(
    config_source: ConfigSource,
    clock: Clock,
    check_web_ui: Callable[[ConfigSource, Settings], str],
    *,
    send: bool = False,
    proof: Proof | None = None,
) -> AsyncIterator[CheckResult]:
    """Yield each result as soon as it is known. A check is skipped if an earlier failure makes it impossible.

    `check_web_ui` returns a message or raises SettingsError; the web UI is above this package. With `send`, a test
    event is published. With `proof`, it is awaited in a queue behind the bus as well.
    """
    settings: Settings | None = None
    try:
        settings = load(config_source)
        yield CheckResult(SETTINGS, check_settings(config_source, settings))
    except Exception as error:  # noqa: BLE001  # as in `run_check`
        yield CheckResult(SETTINGS, error=to_forwarder_error(error))
    if environment := check_environment(config_source):
        yield environment
    try:
        local = settings or load_local(config_source)
    except Exception:  # noqa: BLE001  # it is reported already, and no other check can run
        return
    if valid := settings:
        yield await run_check(WEB_UI, lambda: asyncio.to_thread(check_web_ui, config_source, valid))
    yield await run_check(VAULT, lambda: asyncio.to_thread(check_vault, config_source, local))
    if settings is not None:
        async for step in _check_endpoints(config_source, settings, clock, send=send, proof=proof):
            yield step
    yield await check_counters(config_source, local)


async def _check_endpoints(
    config_source: ConfigSource, settings: Settings, clock: Clock, *, send: bool, proof: Proof | None
) -> AsyncIterator[CheckResult]:
    """Yield the checks of the logs API and of AWS. Omit a check if its secrets cannot be read."""
    try:
        vault = await asyncio.to_thread(Vault.open, config_source, settings)
        key = vault.reveal(ALLOY_API_KEY)
    except Exception:  # noqa: BLE001  # the check of the vault reports it
        return
    async for step in check_source(settings, key, clock):
        yield step
    try:
        identity = Identity(settings.destination, StoredKeys.of(vault))
    except VaultError:
        return
    async for step in check_destination(identity, clock):
        yield step
    if settings.event.oversize == "s3":
        if send or proof is not None:
            yield await check_payloads(identity, settings.event)
        else:
            yield CheckResult(PAYLOADS, NOT_STORED, skipped=True)
    if proof is not None:
        async for step in prove_arrival(identity, settings.event.source, clock, proof):
            yield step
        return
    if send:
        yield await check_publishing(identity, settings.event.source, clock)
    else:
        yield CheckResult(PUBLISHING, NOT_SENT, skipped=True)
