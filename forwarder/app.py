"""The composition root: it creates the components and connects them.

    logs API → intake → ledger → delivery → bus

Intake and delivery are created again for each configuration (settings and secrets). The other components live as long
as the process; see `daemon.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from pydantic import SecretStr

from forwarder.alloy import http_client
from forwarder.alloy.client import LogsClient
from forwarder.aws import eventbridge
from forwarder.aws.credentials import Identity, StoredKeys
from forwarder.aws.eventbridge import EventBridgeBus
from forwarder.aws.payload_bucket import PayloadBucket
from forwarder.clock import Clock
from forwarder.configuration import RuntimeConfig
from forwarder.delivery.dispatcher import Dispatcher
from forwarder.delivery.health_events import HealthTarget
from forwarder.delivery.settlement import SettlementWriter
from forwarder.feed_handover import FeedHandover
from forwarder.fleet_watch import FleetWatch, feed_group, keep_alive
from forwarder.health import Health, NextAttempt
from forwarder.heartbeat import Heartbeats
from forwarder.intake.poller import Poller
from forwarder.ledger import ONE_PROCESS, Fleet, Ledger, PollResult
from forwarder.metrics import Metrics
from forwarder.model import Feed
from forwarder.settings import ConfigSource, Settings
from forwarder.vault import ALLOY_API_KEY, Vault
from forwarder.web.context import WebContext

logger = structlog.get_logger("app")


@dataclass(frozen=True, slots=True)
class Loops:
    """The loops of one configuration: intake and delivery."""

    poller: Poller
    delivery: Dispatcher


@dataclass(slots=True)
class App:
    """The components that outlive each configuration."""

    config_source: ConfigSource
    ledger: Ledger
    clock: Clock
    health: Health
    heartbeats: Heartbeats
    metrics: Metrics
    settlement_writer: SettlementWriter
    config: RuntimeConfig
    loops: Loops | None = None
    fleet: Fleet = ONE_PROCESS
    """The processes on this ledger, as of the last heartbeat."""
    feed_handover: FeedHandover = field(init=False)

    def __post_init__(self) -> None:
        self.feed_handover = FeedHandover(self.ledger, self.clock, self.health)

    @asynccontextmanager
    async def open_loops(self) -> AsyncIterator[Loops]:
        """Create the two loops of the current configuration, and close their clients at the end of the block.

        Raise ValueError if the configuration is disabled, and ForwarderError if a client cannot be created.
        """
        settings, key = self.config.settings, self.config.alloy_key
        if key is None:
            raise ValueError("a disabled or incomplete configuration forwards nothing")
        self.heartbeats.max_work_seconds = max_work_seconds(settings)
        identity = Identity(settings.destination, self.config.stored_keys)
        async with (
            LogsClient(settings.source, key, self.clock, self.metrics) as source,
            EventBridgeBus(identity, self.clock, self.metrics) as destination,
            PayloadBucket(identity, settings.event.s3_bucket) as bucket,
        ):
            delivery = Dispatcher(
                destination, self.ledger, self.settlement_writer, settings, self.clock, self.health, self.metrics
            )
            payload_store = bucket if settings.event.oversize == "s3" else None
            poller = Poller(
                source, self.ledger, settings, self.clock, self.health, self.metrics, delivery.wake, payload_store
            )
            self.loops = Loops(poller, delivery)
            yield self.loops

    def fleet_watch(self, *on_change: Callable[[Fleet], None]) -> FleetWatch:
        """Return the loop of the heartbeats. It calls each function after a change of the fleet."""

        def apply(fleet: Fleet) -> None:
            self.fleet = fleet
            for each in on_change:
                each(fleet)

        self.ledger.set_feed_group(feed_group(self.config.settings.source))
        return FleetWatch(self.ledger, self._heartbeat_seconds, self.clock, self.health, self.feed_handover, apply)

    async def keep_alive(self) -> None:
        """Write the heartbeats of a process whose loops do not run, and whose last requests are in flight."""
        await keep_alive(self.ledger, self._heartbeat_seconds, self.clock, self.health)

    @property
    def _heartbeat_seconds(self) -> float:
        return self.config.settings.ledger.heartbeat_interval.total_seconds()

    async def save_switch(self) -> None:
        """Save the switch of the settings in the ledger, which applies `on_enable` if it changes. Raise LedgerError."""
        settings = self.config.settings
        skip = settings.on_enable == "skip"
        before = await self.ledger.save_switch(enabled=settings.enabled, skip=skip, now=self.clock.now())
        if before is not None and before is not settings.enabled:
            logger.info(
                "forwarding enabled" if settings.enabled else "forwarding disabled", on_enable=settings.on_enable
            )

    async def health_target(self) -> HealthTarget | None:
        """Return where health events are sent, or None if they are off or the settings are incomplete.

        Raise VaultError if forwarding is disabled and the keys cannot be read: a disabled configuration has none.
        """
        config = self.config
        if config.missing is not None or not config.settings.event.health:
            return None
        keys = config.stored_keys if config.settings.enabled else await asyncio.to_thread(self._stored_aws_keys)
        return HealthTarget(config.settings.destination, keys, config.settings.event)

    def _stored_aws_keys(self) -> StoredKeys | None:
        return StoredKeys.of(Vault.open(self.config_source, self.config.settings))

    def polls(self) -> dict[Feed, PollResult]:
        return self.loops.poller.polls if self.loops else {}

    def trigger(self, workflow_id: str, user_id: str | None) -> int:
        """Make the feeds of this workflow and user due now. Return their number, or 0 while forwarding is disabled."""
        if self.loops is None or not self.config.settings.enabled:
            return 0
        return self.loops.poller.triggers.trigger(workflow_id, user_id)

    def next_attempts(self) -> dict[str, NextAttempt]:
        """Return the next attempt of each component that backs off after an error."""
        if self.loops is None or not self.config.settings.enabled:
            return {}
        found = {"source": self.loops.poller.next_attempt(), "bus": self.loops.delivery.next_attempt()}
        return {name: attempt for name, attempt in found.items() if attempt is not None}

    def retry_now(self, component: str) -> bool:
        """End the backoff of a component. Return false if it does not back off, or if the API requested the wait."""
        attempt = self.next_attempts().get(component)
        if self.loops is None or attempt is None or not attempt.can_retry_now:
            return False
        {"source": self.loops.poller.retry_now, "bus": self.loops.delivery.retry_now}[component]()
        return True

    async def rerun(self, feed: Feed, execution_id: str) -> str:
        """Request another run of an execution from Alloy, and return the response. Raise VaultError or SourceError.

        The client is a separate one: that of the loops closes when the settings change, and is absent while forwarding
        is disabled.
        """
        settings = self.config.settings
        key = self.config.alloy_key
        if key is None:
            key = await asyncio.to_thread(self._stored_alloy_key)
        async with LogsClient(settings.source, key, self.clock, self.metrics) as client:
            return await client.rerun(feed, execution_id)

    def _stored_alloy_key(self) -> SecretStr:
        return Vault.open(self.config_source, self.config.settings).require(ALLOY_API_KEY)

    def web_context(self, stopping: asyncio.Event) -> WebContext:
        """Return the parts of the daemon that the web UI may use."""
        return WebContext(
            self.config_source,
            self.clock,
            self.ledger,
            self.health,
            self.heartbeats,
            self.metrics,
            settings=lambda: self.config.settings,
            polls=self.polls,
            trigger=self.trigger,
            next_attempts=self.next_attempts,
            retry_now=self.retry_now,
            rerun=self.rerun,
            stopping=stopping,
        )


def max_work_seconds(settings: Settings) -> float:
    """Return the longest expected time between two heartbeats of a task, in seconds.

    This is the longest request to the logs API or the bus, with all its timeouts, and one minute more.
    """
    request = http_client.MAX_TIMEOUTS * settings.source.timeout.total_seconds()
    # Before a request, the keys may be loaded and the bus verified.
    publishing = 4 * eventbridge.MAX_TIMEOUTS * settings.destination.timeout.total_seconds()
    return 60 + max(request, publishing)
