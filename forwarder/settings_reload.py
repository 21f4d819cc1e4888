"""The reload of the settings and the vault, when their files change or at SIGHUP.

Invalid settings change nothing but the switch: a file with `enabled = false` switches forwarding off. The previous
settings stay in force, and the log and `status` name the fault.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from forwarder import atomicfile, log, systemd
from forwarder.app import App
from forwarder.configuration import MissingParts, RuntimeConfig
from forwarder.errors import ForwarderError
from forwarder.model import State
from forwarder.settings import LocalSettings, Settings
from forwarder.settings.load import load_sections, read_table, validate_table
from forwarder.settings.watch import RETRY_SECONDS, FileWatch
from forwarder.systemd import ServiceManager

logger = structlog.get_logger("app")

SECTIONS_NEEDING_RESTART = ("ledger", "vault", "web")
"""Sections that are loaded only at the start of the process."""

RESTART_HINT = "restart the forwarder; until then, commands already use the new values"


class SettingsReload:
    """A loop that follows the files. After a change, it sets `App.config` and calls `on_change`."""

    def __init__(
        self, app: App, requested: asyncio.Event, manager: ServiceManager, on_change: Callable[[], None]
    ) -> None:
        self._app = app
        self._initial_settings = app.config.settings
        self._requested = requested
        self._manager = manager
        self._on_change = on_change
        self._last_error: ForwarderError | None = None
        """The error of the last reload, or None after a complete one."""
        self._pending_sections: list[str] = []
        """The sections that have changed since the start, and need a restart."""

    def report_first(self) -> None:
        """Report the settings with which the process started."""
        if self._app.config.missing is None:
            self._app.health.healthy("settings")
        else:
            self._report_unconfigured(self._app.config.missing)

    async def run(self) -> None:
        """Load the files again after each change, until cancelled. Report each reload that was requested to systemd."""
        watch = FileWatch(self._watched_files())
        is_requested = True  # the files may have changed since the start
        while True:
            if is_requested:
                self._manager.notify(systemd.reloading())
            self._load_again()
            if is_requested:
                self._manager.notify(systemd.READY)
            retry_seconds = RETRY_SECONDS if self._last_error else math.inf
            is_requested = await watch.changed(self._app.clock, or_when=self._requested, or_after_seconds=retry_seconds)

    def _load_again(self) -> None:
        """Load the settings and secrets again. If they are invalid, keep the previous ones."""
        app = self._app
        table: dict[str, Any] = {}
        try:
            table = read_table(app.config_source.file)
            config = self._load_config(table)
        except ForwarderError as error:
            self._report_invalid(error)
            self._switch_off_if_requested(table)
            return
        if self._last_error is not None and config == app.config:  # a changed configuration has a line of its own
            logger.info("settings valid again")
        self._last_error = None
        if config != app.config:
            is_first = app.config.missing is not None and config.missing is None
            logger.info("set-up complete" if is_first else "settings reloaded", enabled=config.settings.enabled)
            log.configure(config.settings.run)
            app.config = config
            self._on_change()
        if config.missing is None:
            self._report_settings()
        else:
            self._report_unconfigured(config.missing)

    def _report_invalid(self, error: ForwarderError) -> None:
        self._app.health.report("settings", State.FAILED, error.message, error.hint)
        if self._last_error is None or error.message != self._last_error.message:
            logger.error("invalid settings, keeping previous", reason=error.message, hint=error.hint)
        self._last_error = error

    def _switch_off_if_requested(self, table: dict[str, Any]) -> None:
        """Switch off if an otherwise invalid file has `enabled = false`: the person may have to stop it at once.

        The table is the content that is invalid. Read again, a file that is being written may be another one.
        """
        app = self._app
        try:
            local = load_sections(LocalSettings, app.config_source, table)
        except ForwarderError:
            return
        if not local.enabled and app.config.settings.enabled and app.config.missing is None:
            logger.warning("switched off in settings that are invalid otherwise")
            app.config = RuntimeConfig(app.config.settings.model_copy(update={"enabled": False}))
            self._on_change()

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
        elif self._pending_sections:
            sections = ", ".join(f"[{name}]" for name in self._pending_sections)
            health.report("settings", State.HEALTHY, f"the change of {sections} waits for a restart", RESTART_HINT)
        else:
            health.healthy("settings")

    def _load_config(self, table: dict[str, Any]) -> RuntimeConfig:
        config_source, previous = self._app.config_source, self._app.config
        # Once complete, the configuration stays complete: an invalid edit keeps the previous one.
        if previous.missing is not None and (config := RuntimeConfig.incomplete(config_source)) is not None:
            return replace(config, settings=self._with_kept_sections(config.settings))
        settings = validate_table(config_source, table, empty_is_valid=False)
        return RuntimeConfig.of(config_source, self._with_kept_sections(settings))

    def _with_kept_sections(self, settings: Settings) -> Settings:
        """Return the settings, but with the initial values of the sections that need a restart."""
        kept = {name: getattr(self._initial_settings, name) for name in SECTIONS_NEEDING_RESTART}
        self._pending_sections = [name for name in SECTIONS_NEEDING_RESTART if getattr(settings, name) != kept[name]]
        if self._pending_sections:
            logger.warning("changed settings need a restart", sections=self._pending_sections)
        return settings.model_copy(update=kept)

    def _watched_files(self) -> list[Path]:
        config_source, vault = self._app.config_source, self._initial_settings.vault
        return [config_source.file, *(config_source.path(name) for name in (vault.file, vault.master_key_file) if name)]
