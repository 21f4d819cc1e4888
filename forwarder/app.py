"""The composition root: builds the parts, runs the two loops, follows the settings and the switch, and drains.

    logs API → intake → ledger → delivery → bus

Both loops live for one plan: settings and the secrets they need. A changed plan cancels intake, which loses nothing
since a page is recorded whole or not at all, lets delivery drain, and starts both anew on the same ledger.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import structlog
from pydantic import SecretStr

from forwarder import __version__, log
from forwarder.alloy.client import LogsClient
from forwarder.aws.bus import ClassicBus
from forwarder.aws.credentials import Identity, StoredKeys
from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.delivery.loop import Delivery
from forwarder.delivery.settle import Settler
from forwarder.errors import DestinationUnavailable, ForwarderError, LedgerError, VaultError
from forwarder.health import Health
from forwarder.intake.loop import Intake
from forwarder.ledger import Books, Ledger, Reading, RunningLock, ledger_file, open_ledger
from forwarder.model import Feed, State
from forwarder.settings import Place, Settings, load
from forwarder.settings.load import unknown_variables
from forwarder.settings.watch import FileWatch
from forwarder.supervise import keep_running
from forwarder.upkeep import Upkeep
from forwarder.vault import ALLOY_API_KEY, Vault

logger = structlog.get_logger("app")

NEED_RESTART = ("ledger", "vault", "web")
"""Sections that are read once, at the start."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings, and the secrets they need: none while switched off."""

    settings: Settings
    alloy_key: SecretStr | None = None
    stored_keys: StoredKeys | None = None

    @classmethod
    def of(cls, place: Place, settings: Settings) -> Self:
        """Raises VaultError."""
        if not settings.enabled:
            return cls(settings)
        vault = Vault.open(place, settings)
        for warning in vault.warnings():
            logger.warning(warning, mend="chmod 600")
        key = vault.reveal(ALLOY_API_KEY)
        if key is None:
            raise VaultError(f"the vault holds no {ALLOY_API_KEY}", hint=f"`forwarder keys set {ALLOY_API_KEY}`")
        return cls(settings, key, StoredKeys.of(vault))


@dataclass(frozen=True, slots=True)
class Loops:
    intake: Intake
    delivery: Delivery


@dataclass(slots=True)
class App:
    """What outlives every plan."""

    place: Place
    ledger: Ledger
    clock: Clock
    health: Health
    settler: Settler
    plan: Plan
    loops: Loops | None = None

    @asynccontextmanager
    async def forwarding(self) -> AsyncIterator[Loops]:
        """The two loops of the plan in force, ready to run."""
        settings, key = self.plan.settings, self.plan.alloy_key
        assert key is not None  # a plan that is switched on has it
        identity = Identity(settings.destination, self.plan.stored_keys)
        async with (
            LogsClient(settings.source, key, self.clock) as source,
            ClassicBus(identity, self.clock) as bus,
        ):
            delivery = Delivery(bus, self.ledger, self.settler, settings, self.clock, self.health)
            intake = Intake(source, self.ledger, settings, self.clock, self.health, delivery.wake)
            self.loops = Loops(intake, delivery)
            yield self.loops

    async def remember_switch(self) -> None:
        settings = self.plan.settings
        skip = settings.on_enable == "skip"
        before = await self.ledger.switch(enabled=settings.enabled, skip=skip, now=self.clock.now())
        if before is not None and before is not settings.enabled:
            logger.info("switched on" if settings.enabled else "switched off", on_enable=settings.on_enable)

    def readings(self) -> dict[Feed, Reading]:
        return self.loops.intake.readings if self.loops else {}


@asynccontextmanager
async def opened(place: Place, clock: Clock) -> AsyncIterator[App]:
    """Raises SettingsError, VaultError, LedgerError: what is wrong at the start is for a person to mend."""
    settings = load(place)
    log.configure(settings.run)
    for name in unknown_variables(place):
        logger.warning("this variable is no setting", variable=name)
    plan = Plan.of(place, settings)
    with RunningLock(ledger_file(place, settings)):
        async with open_ledger(place, settings, create=True) as ledger:
            health = Health(clock.now)
            yield App(place, ledger, clock, health, Settler(ledger, clock, health), plan)


async def run(place: Place, clock: Clock) -> int:
    """The daemon: until SIGTERM or SIGINT, which end it with 0 once it has drained."""
    async with opened(place, clock) as app:
        daemon = Daemon(app)
        with _on_signals(stop=daemon.stop, reload=daemon.reload):
            await daemon.run()
    return 0


@dataclass(frozen=True, slots=True)
class Pass:
    """What one complete pass came to. `errors` are what kept it from being complete."""

    books: Books
    errors: list[ForwarderError] = field(default_factory=list)
    switched_off: bool = False
    stopped: bool = False

    @property
    def exit_code(self) -> int:
        """The worst of them: a refusal (77) over an outage (69)."""
        return max((error.exit_code for error in self.errors), default=0)


async def once(place: Place, clock: Clock, timeout: timedelta) -> Pass:  # noqa: ASYNC109  # how long to go on delivering
    """One complete pass, by the same parts: read every feed, deliver what is owed until the time is up."""
    async with opened(place, clock) as app:
        await app.remember_switch()
        if not app.plan.settings.enabled:
            return Pass(await app.ledger.books(), switched_off=True)
        async with app.forwarding() as loops:
            errors: list[ForwarderError] = []
            work = asyncio.create_task(_read_and_deliver(loops, timeout, errors))
            with _on_signals(stop=lambda: work.cancel()):
                await asyncio.wait([work])
            await loops.delivery.drain(app.plan.settings.run.shutdown_grace.total_seconds())
            if work.cancelled():
                return Pass(await app.ledger.books(), stopped=True)
            work.result()
            books = await app.ledger.books()
            if books.owed:
                errors.append(loops.delivery.trouble or DestinationUnavailable("the time was up", code="timeout"))
            return Pass(books, errors)


async def _read_and_deliver(loops: Loops, timeout: timedelta, errors: list[ForwarderError]) -> None:  # noqa: ASYNC109
    async with _beside(loops.delivery.run()):
        errors += await loops.intake.run_once()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout.total_seconds()):
            await loops.delivery.run(until_empty=True)


class Daemon:
    """Follows the settings file, the vault and the signals."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._at_start = app.plan.settings
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        app = self._app
        logger.info("started", version=__version__, settings=str(app.place.file), enabled=app.plan.settings.enabled)
        app.health.healthy("settings")
        upkeep = Upkeep(app.ledger, lambda: app.plan.settings, app.readings, app.clock, app.health)
        async with _beside(
            keep_running("upkeep", upkeep.run, app.clock, app.health),
            keep_running("settings", self._watch, app.clock, app.health),
        ):
            while not self._stopping.is_set():
                self._changed.clear()
                await self._remember_switch()
                if app.plan.settings.enabled:
                    await self._forward()
                else:
                    self._pause()
                    await self._changed.wait()
            await asyncio.gather(*self._ending)
        await upkeep.tell()
        logger.info("stopped")

    async def _forward(self) -> None:
        """One plan, until the next. Its requests in flight end beside the next plan, on the same ledger."""
        app = self._app
        stack = AsyncExitStack()
        loops = await stack.enter_async_context(app.forwarding())
        try:
            async with _beside(
                keep_running("source", loops.intake.run, app.clock, app.health),
                keep_running("bus", loops.delivery.run, app.clock, app.health),
            ):
                await self._changed.wait()
        finally:
            ending = asyncio.create_task(self._end(stack, loops.delivery))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def _end(self, stack: AsyncExitStack, delivery: Delivery) -> None:
        async with stack:
            if left := await delivery.drain(self._app.plan.settings.run.shutdown_grace.total_seconds()):
                logger.warning("requests given up at the end of the grace", requests=left)

    def _pause(self) -> None:
        for part in ("source", "bus"):
            self._app.health.report(part, State.PAUSED, "switched off", "`forwarder enable`")

    async def _remember_switch(self) -> None:
        backoff = Backoff(base=0.5, cap=10)
        while True:
            try:
                return await self._app.remember_switch()
            except LedgerError as error:
                self._app.health.report("ledger", State.FAILED, error.message, error.hint)
                await self._app.clock.sleep(backoff.next())

    async def _watch(self) -> None:
        watch = FileWatch(self._watched())
        while True:
            # At once for the first time: a change between the start and the first look would be missed.
            self.reload()
            await watch.changed(self._app.clock)

    def reload(self) -> None:
        """Take up what changed on disk; what is not valid changes nothing."""
        app = self._app
        try:
            plan = self._plan()
        except ForwarderError as error:
            app.health.report("settings", State.FAILED, error.message, error.hint)
            logger.error("settings not taken up: the last good ones stay", why=error.message, mend=error.hint)
            return
        app.health.healthy("settings")
        if plan != app.plan:
            logger.info("settings taken up", enabled=plan.settings.enabled)
            log.configure(plan.settings.run)
            app.plan = plan
            self._changed.set()

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

    def stop(self) -> None:
        logger.info("stopping")
        self._stopping.set()
        self._changed.set()


@asynccontextmanager
async def _beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Tasks that run beside a block, and are cancelled at its end."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _on_signals(*, stop: Callable[[], object], reload: Callable[[], object] | None = None) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop}
    if reload is not None:
        handlers[signal.SIGHUP] = reload
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
