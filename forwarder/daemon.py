"""The daemon. It runs the two loops, and restarts them when the settings, the vault or the switch change.

A changed configuration cancels intake. This loses nothing, because a page is recorded whole or not at all. Then both
loops start again on the same ledger, while the requests in flight of the old configuration complete.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from forwarder import __version__, systemd
from forwarder.app import App
from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.configuration import MissingParts
from forwarder.delivery.dispatcher import Dispatcher
from forwarder.delivery.health_events import HealthEvents
from forwarder.errors import DestinationError, ForwarderError, LedgerError
from forwarder.first_start import create_files_for_setup
from forwarder.ledger import Fleet
from forwarder.maintenance import Maintenance
from forwarder.model import State
from forwarder.retention_watch import RetentionWatch
from forwarder.runtime import background_tasks, handle_signals, tune_runtime
from forwarder.settings import ConfigSource
from forwarder.settings_reload import SettingsReload
from forwarder.startup import LedgerWrapper, open_app
from forwarder.supervisor import keep_running
from forwarder.systemd import ServiceManager
from forwarder.watchdog import Watchdog
from forwarder.web.server import run_web_server
from forwarder.web.setup import ShowLink

logger = structlog.get_logger("app")

LEDGER_RETRY_SECONDS = 5.0
"""Time between two attempts to join the processes that share the ledger."""

RETRY_SECONDS = 30.0
"""Time between two attempts to create the clients, if the environment prevents it."""

SWITCH_CHECK_SECONDS = 5.0
"""Time between two reads of the switch that all processes share, while this one is paused."""

UNCONFIGURED_WARNING_SECONDS = 600.0
"""Time between two warnings that settings or secrets are missing, so that a forgotten set-up is found in the log."""


async def run(
    config_source: ConfigSource,
    clock: Clock,
    wrap_ledger: LedgerWrapper | None = None,
    *,
    setup: bool = False,
    show_setup_link: ShowLink | None = None,
) -> int:
    """Run until SIGTERM or SIGINT, drain, and return 0. `wrap_ledger` is described in `open_app`.

    With `setup`, files that are missing are created, and incomplete settings may be completed while it runs;
    `show_setup_link` prints the link to the page that does so.
    """
    stop, reload = asyncio.Event(), asyncio.Event()
    with handle_signals(stop=stop.set, reload=reload.set):  # first, because a signal may come while files are opened
        created = create_files_for_setup(config_source) if setup else ()
        async with open_app(config_source, clock, wrap_ledger, setup=setup) as app:
            for file in created:
                logger.info("file created", file=str(file))
            await Daemon(app, stop, reload, show_setup_link).run()
    return 0


class Daemon:
    """A running daemon. It follows the settings file, the vault and the signals."""

    def __init__(
        self,
        app: App,
        stopping: asyncio.Event,
        reload: asyncio.Event,
        show_setup_link: ShowLink | None = None,
    ) -> None:
        self._app = app
        self._stopping = stopping
        self._reload = reload
        self._show_setup_link = show_setup_link
        self._changed = asyncio.Event()
        self._manager = ServiceManager.of(app.config_source.environ)
        self._draining: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Run until `stopping` is set, then drain."""
        app = self._app
        logger.info(
            "started", version=__version__, settings=str(app.config_source.file), enabled=app.config.settings.enabled
        )
        settings_reload = SettingsReload(app, self._reload, self._manager, self._changed.set)
        settings_reload.report_first()
        maintenance = Maintenance(
            app.ledger, lambda: app.config.settings, app.polls, app.clock, app.health, app.metrics
        )
        retention_watch = RetentionWatch(
            app.ledger, lambda: app.config.settings, app.polls, app.clock, app.health, app.metrics
        )
        health_events = HealthEvents(
            app.health, app.health_target, lambda: app.config.settings.enabled, app.clock, socket.gethostname()
        )
        async with (
            run_web_server(app.web_context(self._stopping), show_setup_link=self._show_setup_link),
            background_tasks(
                self._keep_running("maintenance", maintenance.run),
                self._keep_running("retention", retention_watch.run),
                self._keep_running("settings", settings_reload.run),
                Watchdog(self._manager, app.heartbeats, app.health).run(),
                self._handle_stop(),
                health_events.run(),
                tune_runtime(self._is_destination_checked, app.clock),
            ),
        ):
            self._manager.notify(systemd.READY)
            while not self._stopping.is_set():
                self._changed.clear()
                if app.config.missing is not None:
                    await self._wait_until_configured(app.config.missing)
                    continue
                is_on = await self._save_switch()
                if self._stopping.is_set():
                    break
                await retention_watch.check()  # before a poll replaces the last reads
                if not app.config.settings.enabled:
                    await self._pause("switched off", "`forwarder enable`", was_on=is_on)
                elif not is_on:
                    await self._pause("switched off for all processes", "`forwarder enable --fleet`", was_on=is_on)
                else:
                    await self._forward()
            grace = app.config.settings.run.shutdown_grace.total_seconds()
            await asyncio.gather(self._drain(), health_events.stop(grace))
        await maintenance.save_status()
        logger.info("stopped")

    async def _wait_until_configured(self, missing: MissingParts) -> None:
        """Warn now and then until the configuration changes. Nothing is forwarded, and the switch is not saved."""
        while not self._changed.is_set():
            logger.warning("not configured, nothing is forwarded", missing=missing.reason, hint=missing.hint)
            await self._app.clock.wait(self._changed, UNCONFIGURED_WARNING_SECONDS)

    async def _keep_running(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        await keep_running(name, loop, self._app.clock, self._app.health, self._app.heartbeats)

    async def _forward(self) -> None:
        """Run the loops until the configuration changes. If they cannot be created, wait RETRY_SECONDS at most.

        Requests in flight complete in the background, while the next configuration runs.
        """
        app = self._app
        stack = AsyncExitStack()
        try:
            loops = await stack.enter_async_context(app.open_loops())
        except ForwarderError as error:
            component = "bus" if isinstance(error, DestinationError) else "source"
            app.health.report(component, State.FAILED, error.message, error.hint)
            async with self._heartbeats_while_draining():
                await app.clock.wait(self._changed, RETRY_SECONDS)
            return
        fleet_watch = app.fleet_watch(loops.poller.assign, self._stop_if_switched_off)
        try:
            await fleet_watch.beat()
        except LedgerError as error:
            await stack.aclose()
            app.health.report("ledger", State.FAILED, error.message, error.hint)
            await app.clock.wait(self._changed, LEDGER_RETRY_SECONDS)
            return
        for component in ("source", "bus"):
            app.health.report(component, State.STARTING)
        try:
            async with background_tasks(
                self._keep_running("source", loops.poller.run),
                self._keep_running("bus", loops.delivery.run),
                self._keep_running("fleet", fleet_watch.run),
            ):
                await self._changed.wait()
        finally:
            draining = asyncio.create_task(self._drain_and_close(stack, loops.delivery))
            self._draining.add(draining)
            draining.add_done_callback(self._draining.discard)

    def _stop_if_switched_off(self, fleet: Fleet) -> None:
        if not fleet.enabled:
            self._changed.set()

    async def _drain_and_close(self, stack: AsyncExitStack, delivery: Dispatcher) -> None:
        async with stack:
            await delivery.drain()

    async def _drain(self) -> None:
        """Wait for requests in flight and their settlements, at most for `run.shutdown_grace`. Log lost outcomes."""
        grace = self._app.config.settings.run.shutdown_grace.total_seconds()
        deadline = self._app.clock.monotonic() + grace
        async with self._heartbeats_while_draining():
            if self._draining:
                _, unfinished = await asyncio.wait(self._draining, timeout=grace)
                for task in unfinished:
                    task.cancel()
                await asyncio.gather(*unfinished, return_exceptions=True)
            unsaved_commits = await self._app.settlement_writer.close(max(0.0, deadline - self._app.clock.monotonic()))
        if unsaved_commits:
            logger.error("outcomes not saved, their entries will be sent again", commits=unsaved_commits)

    @asynccontextmanager
    async def _heartbeats_while_draining(self) -> AsyncIterator[None]:
        """Write heartbeats during a block in which the loops, and with them the fleet watch, do not run."""
        async with background_tasks(*([self._app.keep_alive()] if self._draining else [])):
            yield

    def _is_destination_checked(self) -> bool:
        """Return whether the bus was checked. Its client is created last, so startup is complete then."""
        bus = self._app.health.components.get("bus")
        return bus is not None and bus.state not in (State.UNCONFIGURED, State.STARTING, State.PAUSED)

    async def _pause(self, reason: str, hint: str, *, was_on: bool) -> None:
        """Leave the fleet until the configuration changes, or the switch of all processes.

        `was_on` is the switch before the pause. The pause ends when the saved switch differs from it, even if that
        changed before the first read here.
        """
        for component in ("source", "bus"):
            self._app.health.report(component, State.PAUSED, reason, hint)
        if self._draining:  # what is in flight would be sent again by the process that takes it over
            grace = self._app.config.settings.run.shutdown_grace.total_seconds()
            async with self._heartbeats_while_draining():
                await asyncio.wait(self._draining, timeout=grace)
        while not self._changed.is_set():
            is_on = await self._leave_and_read_switch()
            if is_on is not None and is_on is not was_on:
                return
            await self._app.clock.wait(self._changed, SWITCH_CHECK_SECONDS)

    async def _leave_and_read_switch(self) -> bool | None:
        """Return the saved switch, or None if it was never saved or cannot be read. The process leaves."""
        try:
            await self._app.ledger.leave()
            return await self._app.ledger.saved_switch()
        except LedgerError as error:
            self._app.health.report("ledger", State.FAILED, error.message, error.hint)
            return None

    async def _save_switch(self) -> bool:
        """Save the switch of the settings, and try again after errors until the daemon stops.

        Return whether the saved switch is on. On a shared ledger, that is the switch of all processes.
        """
        backoff = Backoff(base=0.5, cap=10)
        while not self._stopping.is_set():
            try:
                await self._app.save_switch()
                return await self._app.ledger.saved_switch() is not False
            except LedgerError as error:
                self._app.health.report("ledger", State.FAILED, error.message, error.hint)
                await self._app.clock.wait(self._stopping, backoff.next())
        return False

    async def _handle_stop(self) -> None:
        await self._stopping.wait()
        self._manager.notify(systemd.STOPPING)
        logger.info("stopping")
        self._changed.set()
