"""The start of a process that runs the loops: it loads the configuration, opens the ledger, and creates the app."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from forwarder import log
from forwarder.app import App
from forwarder.aws.responses import CODES
from forwarder.clock import Clock
from forwarder.configuration import RuntimeConfig
from forwarder.delivery.settlement import SettlementWriter
from forwarder.errors import ForwarderError, SettingsError, VaultError
from forwarder.first_start import SETUP_HINT, find_obstacle
from forwarder.health import Health
from forwarder.heartbeat import Heartbeats
from forwarder.ledger import Ledger, ledger_place
from forwarder.metrics import Metrics
from forwarder.settings import ConfigSource, Settings, load
from forwarder.settings.load import unknown_variables
from forwarder.settings.suggestions import suggest_for_variable

logger = structlog.get_logger("app")

LedgerWrapper = Callable[[Ledger], Ledger]


async def _load_config(config_source: ConfigSource, *, setup: bool) -> RuntimeConfig:
    """Return the configuration, which may be incomplete in a set-up. Raise SettingsError, VaultError or LedgerError."""
    try:
        settings = load(config_source)
        _configure_log(config_source, settings)
        return RuntimeConfig.of(config_source, settings)
    except (SettingsError, VaultError) as error:
        obstacle = await find_obstacle(config_source, error)
        if not setup:
            raise (error if obstacle else _with_setup_hint(error)) from None
        if obstacle:
            raise obstacle from None
    config = RuntimeConfig.incomplete(config_source) or RuntimeConfig.of(config_source, load(config_source))
    _configure_log(config_source, config.settings)
    return config


def _with_setup_hint(error: ForwarderError) -> ForwarderError:
    """Return the error, with a hint that names the set-up on the page as well."""
    error.hint = f"{error.hint}; or {SETUP_HINT}" if error.hint else SETUP_HINT
    return error


def _configure_log(config_source: ConfigSource, settings: Settings) -> None:
    log.configure(settings.run)
    for name in unknown_variables(config_source):
        hint = suggest_for_variable(name)
        logger.warning("unknown environment variable ignored", variable=name, **({"hint": hint} if hint else {}))


@asynccontextmanager
async def open_app(
    config_source: ConfigSource, clock: Clock, wrap_ledger: LedgerWrapper | None = None, *, setup: bool = False
) -> AsyncIterator[App]:
    """Open the ledger and create the components. Raise SettingsError, VaultError or LedgerError.

    `wrap_ledger` may wrap the ledger that the loops use. The fault tests use it to kill the process at each operation.
    With `setup`, the configuration may be incomplete.
    """
    config = await _load_config(config_source, setup=setup)
    settings = config.settings
    async with ledger_place(config_source, settings).run(clock.now) as ledger:
        health = Health(clock.now)
        wrapped_ledger = wrap_ledger(ledger) if wrap_ledger else ledger
        settlement_writer = SettlementWriter(wrapped_ledger, clock, health, await wrapped_ledger.last_settlement_seq())
        yield App(
            config_source,
            wrapped_ledger,
            clock,
            health,
            Heartbeats(),
            Metrics(CODES),
            settlement_writer,
            config,
        )
