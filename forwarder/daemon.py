"""The daemon. It runs the two loops, and restarts them when the settings, the vault or the switch change.

A changed configuration cancels intake. This loses nothing, because a page is recorded whole or not at all. Then both
loops start again on the same ledger, while the requests in flight of the old configuration complete.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import structlog

from forwarder import __version__, atomicfile, log, systemd
from forwarder.app import App, LedgerWrapper, open_app
from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.configuration import MissingParts, RuntimeConfig
from forwarder.delivery.dispatcher import Dispatcher
from forwarder.errors import DestinationError, ForwarderError, LedgerError
from forwarder.first_start import create_files_for_setup
from forwarder.maintenance import Maintenance
from forwarder.model import State
from forwarder.runtime import background_tasks, handle_signals, tune_runtime
from forwarder.settings import ConfigSource, Settings, load
from forwarder.settings.watch import FileWatch
from forwarder.supervisor import keep_running
from forwarder.systemd import ServiceManager
from forwarder.watchdog import Watchdog
from forwarder.web.server import run_web_server
from forwarder.web.setup import ShowLink

logger = structlog.get_logger("app")

SECTIONS_NEEDING_RESTART = ("ledger", "vault", "web")
"""Sections that are loaded only at the start of the process."""

RETRY_SECONDS = 30.0
"""Time between two attempts to create the clients, if the environment prevents it."""

UNCONFIGURED_WARNING_SECONDS = 600.0
"""Time between two warnings that settings or secrets are missing, so that a forgotten set-up is found in the log."""


async def run(
    config_source: ConfigSource,
    clock: Clock,
    *wrap_ledger: LedgerWrapper,
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
        async with open_app(config_source, clock, *wrap_ledger, setup=setup) as app:
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
        self._initial_settings = app.config.settings
        self._stopping = stopping
        self._reload = reload
        self._show_setup_link = show_setup_link
        self._changed = asyncio.Event()
        self._manager = ServiceManager.of(app.config_source.environ)
        self._draining: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        app = self._app
        logger.info(
            "started", version=__version__, settings=str(app.config_source.file), enabled=app.config.settings.enabled
        )
        if app.config.missing is None:
            app.health.healthy("settings")
        else:
            self._report_unconfigured(app.config.missing)
        maintenance = Maintenance(
            app.ledger, lambda: app.config.settings, app.polls, app.clock, app.health, app.metrics
        )
        async with (
            run_web_server(app.web_context(self._stopping), show_setup_link=self._show_setup_link),
            background_tasks(
                self._keep_running("maintenance", maintenance.run),
                self._keep_running("settings", self._watch_files),
                Watchdog(self._manager, app.heartbeats, app.health).run(),
                self._handle_stop(),
                tune_runtime(self._is_destination_checked, app.clock),
            ),
        ):
            self._manager.notify(systemd.READY)
            while not self._stopping.is_set():
                self._changed.clear()
                if app.config.missing is not None:
                    await self._wait_until_configured(app.config.missing)
                    continue
                await self._save_switch()
                if self._stopping.is_set():
                    break
                if app.config.settings.enabled:
                    await self._forward()
                else:
                    self._pause()
                    await self._changed.wait()
            await self._drain()
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
            await app.clock.wait(self._changed, RETRY_SECONDS)
            return
        for component in ("source", "bus"):
            app.health.report(component, State.STARTING)
        try:
            async with background_tasks(
                self._keep_running("source", loops.poller.run),
                self._keep_running("bus", loops.delivery.run),
            ):
                await self._changed.wait()
        finally:
            draining = asyncio.create_task(self._drain_and_close(stack, loops.delivery))
            self._draining.add(draining)
            draining.add_done_callback(self._draining.discard)

    async def _drain_and_close(self, stack: AsyncExitStack, delivery: Dispatcher) -> None:
        async with stack:
            await delivery.drain()

    async def _drain(self) -> None:
        """Wait for requests in flight and their settlements, at most for `run.shutdown_grace`. Log lost outcomes."""
        grace = self._app.config.settings.run.shutdown_grace.total_seconds()
        deadline = self._app.clock.monotonic() + grace
        if self._draining:
            _, unfinished = await asyncio.wait(self._draining, timeout=grace)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        unsaved_commits = await self._app.settlement_writer.close(max(0.0, deadline - self._app.clock.monotonic()))
        if unsaved_commits:
            logger.error("outcomes not saved, their entries will be sent again", commits=unsaved_commits)

    def _is_destination_checked(self) -> bool:
        """Return whether the bus was checked. Its client is created last, so startup is complete then."""
        bus = self._app.health.components.get("bus")
        return bus is not None and bus.state not in (State.UNCONFIGURED, State.STARTING, State.PAUSED)

    def _pause(self) -> None:
        for component in ("source", "bus"):
            self._app.health.report(component, State.PAUSED, "switched off", "`forwarder enable`")

    async def _save_switch(self) -> None:
        backoff = Backoff(base=0.5, cap=10)
        while not self._stopping.is_set():
            try:
                await self._app.save_switch()
            except LedgerError as error:
                self._app.health.report("ledger", State.FAILED, error.message, error.hint)
                await self._app.clock.wait(self._stopping, backoff.next())
            else:
                return

    async def _watch_files(self) -> None:
        watch = FileWatch(self._watched_files())
        while True:
            # The first reload is immediate, because the files may have changed since the start.
            self._manager.notify(systemd.reloading())
            self._reload_settings()
            self._manager.notify(systemd.READY)
            await watch.changed(self._app.clock, or_when=self._reload)

    def _reload_settings(self) -> None:
        """Load the settings and secrets again. If they are invalid, keep the previous ones."""
        app = self._app
        try:
            config = self._load_config()
        except ForwarderError as error:
            app.health.report("settings", State.FAILED, error.message, error.hint)
            logger.error(  # noqa: TRY400  # a person corrects this, and a traceback would not help
                "invalid settings, keeping previous", reason=error.message, hint=error.hint
            )
            return
        if config != app.config:
            is_first = app.config.missing is not None and config.missing is None
            logger.info("set-up complete" if is_first else "settings reloaded", enabled=config.settings.enabled)
            log.configure(config.settings.run)
            app.config = config
            self._changed.set()
        if config.missing is None:
            self._report_settings()
        else:
            self._report_unconfigured(config.missing)

    def _report_unconfigured(self, missing: MissingParts) -> None:
        self._app.health.report("settings", State.UNCONFIGURED, missing.reason, missing.hint)
        for component in ("source", "bus"):
            self._app.health.report(component, State.UNCONFIGURED, "waits for the settings")

    def _report_settings(self) -> None:
        """Report that the settings are valid. Report a file as stale if its changes are invisible to this process."""
        health = self._app.health
        if stale := [str(path) for path in self._watched_files() if atomicfile.is_stale_mount(path)]:
            message = f"{', '.join(stale)} was replaced outside of this container: the old content stays in force"
            health.report("settings", State.DEGRADED, message, atomicfile.STALE_MOUNT_HINT)
            logger.warning("mounted file out of date", reason=message, hint=atomicfile.STALE_MOUNT_HINT)
        else:
            health.healthy("settings")

    def _load_config(self) -> RuntimeConfig:
        config_source, previous = self._app.config_source, self._app.config
        # Once complete, the configuration stays complete: an invalid edit keeps the previous one.
        if previous.missing is not None and (config := RuntimeConfig.incomplete(config_source)) is not None:
            return replace(config, settings=self._with_kept_sections(config.settings))
        settings = load(config_source, empty_is_valid=False)
        return RuntimeConfig.of(config_source, self._with_kept_sections(settings))

    def _with_kept_sections(self, settings: Settings) -> Settings:
        """Return the settings with those sections as they were at the start that need a restart."""
        kept = {name: getattr(self._initial_settings, name) for name in SECTIONS_NEEDING_RESTART}
        if changed := [name for name in SECTIONS_NEEDING_RESTART if getattr(settings, name) != kept[name]]:
            logger.warning("changed settings need a restart", sections=changed)
        return settings.model_copy(update=kept)

    def _watched_files(self) -> list[Path]:
        config_source, vault = self._app.config_source, self._initial_settings.vault
        return [config_source.file, *(config_source.path(name) for name in (vault.file, vault.master_key_file) if name)]

    async def _handle_stop(self) -> None:
        await self._stopping.wait()
        self._manager.notify(systemd.STOPPING)
        logger.info("stopping")
        self._changed.set()
