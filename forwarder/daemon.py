"""The daemon: runs the two loops of one plan after another, as settings, vault, switch and signals ask.

A changed plan cancels intake, which loses nothing since a page is recorded whole or not at all, lets what delivery
has in flight end beside the new plan, and starts both anew on the same ledger.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from forwarder import __version__, files, log, notify
from forwarder.app import App, Plan, Through, opened
from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.delivery.loop import Delivery
from forwarder.errors import DestinationError, ForwarderError, LedgerError
from forwarder.model import State
from forwarder.notify import ServiceManager
from forwarder.settings import Place, load
from forwarder.settings.watch import FileWatch
from forwarder.supervise import beside, keep_running, on_signals, spare_the_event_loop
from forwarder.upkeep import Upkeep
from forwarder.watchdog import Watchdog
from forwarder.web.server import serving

logger = structlog.get_logger("app")

NEED_RESTART = ("ledger", "vault", "web")
"""Sections that are read once, at the start."""

TRY_AGAIN = 30.0
"""Seconds between two tries to make the clients, where the environment does not let us."""


async def run(place: Place, clock: Clock, *through: Through) -> int:
    """The daemon: until SIGTERM or SIGINT, which end it with 0 once it has drained. For `through` see `opened`."""
    stop, reload = asyncio.Event(), asyncio.Event()
    with on_signals(stop=stop.set, reload=reload.set):  # before anything is opened, for a signal may come meanwhile
        async with opened(place, clock, *through) as app:
            await Daemon(app, stop, reload).run()
    return 0


class Daemon:
    """Follows the settings file, the vault and the signals."""

    def __init__(self, app: App, stopping: asyncio.Event, reload: asyncio.Event) -> None:
        self._app = app
        self._at_start = app.plan.settings
        self._stopping = stopping
        self._reload = reload
        self._changed = asyncio.Event()
        self._manager = ServiceManager.of(app.place.environ)
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        app = self._app
        logger.info("started", version=__version__, settings=str(app.place.file), enabled=app.plan.settings.enabled)
        app.health.healthy("settings")
        upkeep = Upkeep(app.ledger, lambda: app.plan.settings, app.readings, app.clock, app.health, app.metrics)
        async with (
            serving(app.desk(self._stopping)),
            beside(
                self._keep_running("upkeep", upkeep.run),
                self._keep_running("settings", self._watch),
                Watchdog(self._manager, app.beats, app.health).run(),
                self._obey(),
                spare_the_event_loop(self._has_looked, app.clock),
            ),
        ):
            self._manager.tell(notify.READY)
            while not self._stopping.is_set():
                self._changed.clear()
                await self._remember_switch()
                if self._stopping.is_set():
                    break
                if app.plan.settings.enabled:
                    await self._forward()
                else:
                    self._pause()
                    await self._changed.wait()
            await self._drain()
        await upkeep.tell()
        logger.info("stopped")

    async def _keep_running(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        await keep_running(name, loop, self._app.clock, self._app.health, self._app.beats)

    async def _forward(self) -> None:
        """One plan, until the next. Its requests in flight end beside the next plan, on the same ledger."""
        app = self._app
        stack = AsyncExitStack()
        try:
            loops = await stack.enter_async_context(app.forwarding())
        except ForwarderError as error:
            part = "bus" if isinstance(error, DestinationError) else "source"
            app.health.report(part, State.FAILED, error.message, error.hint)
            await app.clock.wait(self._changed, TRY_AGAIN)
            return
        for part in ("source", "bus"):
            app.health.report(part, State.STARTING)
        try:
            async with beside(
                self._keep_running("source", loops.intake.run),
                self._keep_running("bus", loops.delivery.run),
            ):
                await self._changed.wait()
        finally:
            ending = asyncio.create_task(self._end(stack, loops.delivery))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def _end(self, stack: AsyncExitStack, delivery: Delivery) -> None:
        async with stack:
            await delivery.drain()

    async def _drain(self) -> None:
        """What is in flight may end within the grace, and be booked."""
        grace = self._app.plan.settings.run.shutdown_grace.total_seconds()
        deadline = self._app.clock.monotonic() + grace
        if self._ending:
            _, late = await asyncio.wait(self._ending, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        left = await self._app.settler.close(max(0.0, deadline - self._app.clock.monotonic()))
        if left:
            logger.error("outcomes could not be booked: their entries are sent again", commits=left)

    def _has_looked(self) -> bool:
        """For the bus: its client is made for that, and is the last."""
        bus = self._app.health.parts.get("bus")
        return bus is not None and bus.state not in (State.STARTING, State.PAUSED)

    def _pause(self) -> None:
        for part in ("source", "bus"):
            self._app.health.report(part, State.PAUSED, "switched off", "`forwarder enable`")

    async def _remember_switch(self) -> None:
        backoff = Backoff(base=0.5, cap=10)
        while not self._stopping.is_set():
            try:
                await self._app.remember_switch()
            except LedgerError as error:
                self._app.health.report("ledger", State.FAILED, error.message, error.hint)
                await self._app.clock.wait(self._stopping, backoff.next())
            else:
                return

    async def _watch(self) -> None:
        watch = FileWatch(self._watched())
        while True:
            # At once for the first time: a change between the start and the first look would be missed.
            self._manager.tell(notify.reloading())
            self._take_up()
            self._manager.tell(notify.READY)
            await watch.changed(self._app.clock, or_when=self._reload)

    def _take_up(self) -> None:
        """Take up what changed on disk; what is not valid changes nothing."""
        app = self._app
        try:
            plan = self._plan()
        except ForwarderError as error:
            app.health.report("settings", State.FAILED, error.message, error.hint)
            logger.error(  # noqa: TRY400  # a person mends this, and a traceback would not help
                "settings not taken up: the last good ones stay", why=error.message, mend=error.hint
            )
            return
        self._report_settings()
        if plan != app.plan:
            logger.info("settings taken up", enabled=plan.settings.enabled)
            log.configure(plan.settings.run)
            app.plan = plan
            self._changed.set()

    def _report_settings(self) -> None:
        """Report valid settings, and any file of them whose later changes this process cannot see."""
        health = self._app.health
        if cut_off := [str(path) for path in self._watched() if files.is_cut_off(path)]:
            message = f"{', '.join(cut_off)} was replaced outside of this container: the old content stays in force"
            health.report("settings", State.DEGRADED, message, files.CUT_OFF_HINT)
            logger.warning("a mounted file is out of date", why=message, mend=files.CUT_OFF_HINT)
        else:
            health.healthy("settings")

    def _plan(self) -> Plan:
        place = self._app.place
        settings = load(place, empty_is_valid=False)
        kept = {name: getattr(self._at_start, name) for name in NEED_RESTART}
        if changed := [name for name in NEED_RESTART if getattr(settings, name) != kept[name]]:
            logger.warning("these sections take effect with the next start", sections=changed)
        return Plan.of(place, settings.model_copy(update=kept))

    def _watched(self) -> list[Path]:
        place, vault = self._app.place, self._at_start.vault
        return [place.file, *(place.path(name) for name in (vault.file, vault.master_key_file) if name)]

    async def _obey(self) -> None:
        await self._stopping.wait()
        self._manager.tell(notify.STOPPING)
        logger.info("stopping")
        self._changed.set()
