"""The composition root: what the parts are, and how they are put together.

    logs API → intake → ledger → delivery → bus

Intake and delivery live for one plan: settings, and the secrets they need. All else outlives it; see `daemon.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import structlog
from pydantic import SecretStr

from forwarder import log
from forwarder.alloy import asking
from forwarder.alloy.client import LogsClient
from forwarder.aws import bus
from forwarder.aws.answers import CODES
from forwarder.aws.bus import ClassicBus
from forwarder.aws.credentials import Identity, StoredKeys
from forwarder.beats import Beats, WatchedClock
from forwarder.clock import Clock
from forwarder.delivery.loop import Delivery
from forwarder.delivery.settle import Settler
from forwarder.errors import SettingsError, VaultError
from forwarder.health import Health
from forwarder.intake.loop import Intake
from forwarder.ledger import Ledger, Reading, RunningLock, ledger_file, open_ledger
from forwarder.metrics import Metrics
from forwarder.model import Feed
from forwarder.settings import Place, Settings, load
from forwarder.settings.load import unknown_variables
from forwarder.settings.names import advice_for_variable
from forwarder.vault import ALLOY_API_KEY, Vault
from forwarder.web.desk import Desk
from forwarder.web.oldest import OldestOwed

logger = structlog.get_logger("app")

Through = Callable[[Ledger], Ledger]


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
    beats: Beats
    metrics: Metrics
    settler: Settler
    plan: Plan
    loops: Loops | None = None

    @asynccontextmanager
    async def forwarding(self) -> AsyncIterator[Loops]:
        """The two loops of the plan in force, ready to run."""
        settings, key = self.plan.settings, self.plan.alloy_key
        if key is None:
            raise ValueError("a plan that is switched off forwards nothing")
        self.beats.longest_work = longest_work(settings)
        identity = Identity(settings.destination, self.plan.stored_keys)
        async with (
            LogsClient(settings.source, key, self.clock, self.metrics) as source,
            ClassicBus(identity, self.clock, self.metrics, lambda: self.settler.settled) as destination,
        ):
            delivery = Delivery(destination, self.ledger, self.settler, settings, self.clock, self.health, self.metrics)
            intake = Intake(source, self.ledger, settings, self.clock, self.health, self.metrics, delivery.wake)
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

    def nudge(self, workflow_id: str, user_id: str | None) -> int:
        """How many feeds are due now for it: none while switched off."""
        if self.loops is None or not self.plan.settings.enabled:
            return 0
        return self.loops.intake.nudges.nudge(workflow_id, user_id)

    def desk(self, stopping: asyncio.Event) -> Desk:
        """What the page may touch."""
        return Desk(
            self.place,
            self.clock,
            self.ledger,
            OldestOwed(self.ledger, self.clock),
            self.health,
            self.beats,
            self.metrics,
            settings=lambda: self.plan.settings,
            readings=self.readings,
            nudge=self.nudge,
            stopping=stopping,
        )


def longest_work(settings: Settings) -> float:
    """Seconds that a task may take between two looks at its clock: a request with all its patience, and some more."""
    request = asking.PATIENCE * settings.source.timeout.total_seconds()
    publishing = 4 * bus.PATIENCE * settings.destination.timeout.total_seconds()  # asks for keys and the bus first
    return 60 + max(request, publishing)


def _itself(ledger: Ledger) -> Ledger:
    return ledger


@asynccontextmanager
async def opened(place: Place, clock: Clock, through: Through = _itself) -> AsyncIterator[App]:
    """Raises SettingsError, VaultError, LedgerError: what is wrong at the start is for a person to mend.

    `through` may put something between the loops and the ledger; the fault suite kills the process there.
    """
    settings = load(place)
    log.configure(settings.run)
    for name in unknown_variables(place):
        hint = advice_for_variable(name)
        logger.warning("this variable is no setting", variable=name, **({"mend": hint} if hint else {}))
    plan = Plan.of(place, settings)
    if not (folder := ledger_file(place, settings).parent).is_dir():
        raise SettingsError(
            f"ledger.url is in a folder that is not there: {folder}", hint="make it, or change ledger.url"
        )
    beats = Beats()
    watched = WatchedClock(clock, beats)
    with RunningLock(ledger_file(place, settings)) as lock:
        async with open_ledger(place, settings, create=not lock.had_ledger, lock=lock) as ledger:
            health = Health(watched.now)
            between = through(ledger)
            settler = Settler(between, watched, health, await between.last_settle())
            yield App(place, between, watched, health, beats, Metrics(CODES), settler, plan)
