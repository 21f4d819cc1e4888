"""The composition root: what the parts are, and how they are put together.

    logs API → intake → ledger → delivery → bus

Intake and delivery live for one plan: settings, and the secrets they need. All else outlives it; see `daemon.py`.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import structlog
from pydantic import SecretStr

from forwarder import log
from forwarder.alloy.client import LogsClient
from forwarder.aws.bus import ClassicBus
from forwarder.aws.credentials import Identity, StoredKeys
from forwarder.clock import Clock
from forwarder.delivery.loop import Delivery
from forwarder.delivery.settle import Settler
from forwarder.errors import SettingsError, VaultError
from forwarder.health import Health
from forwarder.intake.loop import Intake
from forwarder.ledger import Ledger, Reading, RunningLock, ledger_file, open_ledger
from forwarder.model import Feed
from forwarder.settings import Place, Settings, load
from forwarder.settings.load import unknown_variables
from forwarder.vault import ALLOY_API_KEY, Vault

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
    settler: Settler
    plan: Plan
    loops: Loops | None = None

    @asynccontextmanager
    async def forwarding(self) -> AsyncIterator[Loops]:
        """The two loops of the plan in force, ready to run."""
        settings, key = self.plan.settings, self.plan.alloy_key
        if key is None:
            raise ValueError("a plan that is switched off forwards nothing")
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
        logger.warning("this variable is no setting", variable=name)
    plan = Plan.of(place, settings)
    if not (folder := ledger_file(place, settings).parent).is_dir():
        raise SettingsError(
            f"ledger.url is in a folder that is not there: {folder}", hint="make it, or change ledger.url"
        )
    with RunningLock(ledger_file(place, settings)) as lock:
        async with open_ledger(place, settings, create=not lock.had_ledger) as ledger:
            lock.ledger_is_there()
            health = Health(clock.now)
            between = through(ledger)
            yield App(place, between, clock, health, Settler(between, clock, health), plan)
