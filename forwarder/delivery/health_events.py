"""The health events. They report each changed state of a component to the bus of the failed executions.

They are best effort. They use a client of their own, and neither the ledger nor the state of the bus. If the bus does
not accept them, the states that are current then are sent later, with growing delays.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import structlog

from forwarder.aws.credentials import Identity, StoredKeys
from forwarder.aws.eventbridge import Event, EventBridgeBus
from forwarder.aws.responses import RequestRefusal
from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.delivery.batch import MAX_ENTRIES
from forwarder.delivery.bus_check import VerifiedBus
from forwarder.errors import DestinationUnavailable, ForwarderError
from forwarder.event.health_event import DETAIL_TYPE, HealthChange, health_detail
from forwarder.health import Health
from forwarder.model import Accepted, Outcome, Rejected, State
from forwarder.rate_limit import RateLimiter
from forwarder.redaction import Redactor
from forwarder.settings.sections import DestinationSettings, EventSettings

log = structlog.get_logger("delivery")

COALESCE_SECONDS = 1.0
"""The time from a change to its event. Changes that come together are sent together."""

MIN_INTERVAL_SECONDS, MAX_BURST = 10.0, 3
"""The limit of requests: three at once, and then one in ten seconds. A component has one event in a request."""

MAX_BACKOFF_SECONDS = 300.0
"""The longest wait before the next attempt, if the bus accepts no health event."""

MAX_STOP_SECONDS = 5.0
"""The longest time for the event that reports the stop of the forwarder."""

RUNNING, STOPPED = "RUNNING", "STOPPED"
"""The states of the component `forwarder`, which is the process."""

ENABLED, DISABLED = "ENABLED", "DISABLED"
"""The states of the component `switch`."""


@dataclass(frozen=True, slots=True)
class HealthTarget:
    """The bus of the health events, and the settings that apply to them."""

    destination: DestinationSettings
    stored_keys: StoredKeys | None
    event: EventSettings


class HealthEvents:
    """The sender of the health events. It compares the states of the components with those that it has sent.

    `target` returns None while health events are off, and may raise ForwarderError. `is_enabled` returns the switch.
    """

    def __init__(
        self,
        health: Health,
        target: Callable[[], Awaitable[HealthTarget | None]],
        is_enabled: Callable[[], bool],
        clock: Clock,
        instance: str,
    ) -> None:
        self._health = health
        self._find_target = target
        self._is_enabled = is_enabled
        self._clock = clock
        self._instance = instance
        self._changed = health.subscribe()
        self._limiter = RateLimiter(clock, interval_seconds=MIN_INTERVAL_SECONDS, burst=MAX_BURST)
        self._own_states = {"forwarder": (RUNNING, clock.now())}
        self._sent: dict[str, str] = {}
        self._has_warned = False
        self._lock = asyncio.Lock()
        self._target: HealthTarget | None = None
        self._bus: VerifiedBus | None = None
        self._exit_stack = AsyncExitStack()

    async def run(self) -> None:
        """Send the events until cancelled. An error is logged, and delays the next attempt."""
        backoff = Backoff(base=2 * MIN_INTERVAL_SECONDS, cap=MAX_BACKOFF_SECONDS, floor=COALESCE_SECONDS)
        try:
            while True:
                self._changed.clear()
                if await self._send():
                    backoff.reset()
                    await self._changed.wait()
                else:
                    # A change may mean that the bus works again.
                    await self._clock.wait(self._changed, backoff.next())
                await self._clock.sleep(max(COALESCE_SECONDS, self._limiter.wait_seconds))
        finally:
            await self._exit_stack.aclose()

    async def stop(self, grace_seconds: float) -> None:
        """Send one last event that reports the stop. Give up after `grace_seconds`, and at most MAX_STOP_SECONDS."""
        self._own_states["forwarder"] = (STOPPED, self._clock.now())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(grace_seconds, MAX_STOP_SECONDS)):
                await self._send()

    async def _send(self) -> bool:
        """Send the states that were not sent yet, in one request. Return whether nothing is left to send."""
        async with self._lock:
            try:
                target = await self._find_target()
                if target is None:
                    self._sent.clear()  # the states that are current when health events are turned on are sent
                    return True
                changes = self._unsent()
                if not changes:
                    return True
                self._limiter.take()
                await self._publish(target, changes[:MAX_ENTRIES])
            except ForwarderError as error:
                self._warn(error.message, error.hint)
                return False
            except Exception:
                log.exception("health events failed")  # a fault here must not end the daemon
                return False
            self._has_warned = False
            return not self._unsent()

    def _unsent(self) -> list[HealthChange]:
        """Return the current states that differ from the sent ones. STARTING is a transition, and is not sent."""
        switch = ENABLED if self._is_enabled() else DISABLED
        if "switch" not in self._own_states or self._own_states["switch"][0] != switch:
            self._own_states["switch"] = (switch, self._clock.now())
        sent = self._sent
        current = [HealthChange(name, state, sent.get(name), at) for name, (state, at) in self._own_states.items()] + [
            HealthChange(name, status.state.value, sent.get(name), status.since, status.reason, status.hint)
            for name, status in self._health.components.items()
            if status.state is not State.STARTING
        ]
        return [change for change in current if change.state != change.previous]

    async def _publish(self, target: HealthTarget, changes: Sequence[HealthChange]) -> None:
        """Publish the changes. Raise DestinationError if any of them was not accepted and may be accepted later."""
        bus = await self._open_bus(target)
        redactor, now = Redactor(target.event.redact, target.event.redact_except), self._clock.now()
        events = []
        for change in changes:
            redacted = replace(change, reason=redactor.text(change.reason), hint=redactor.text(change.hint))
            events.append(Event(target.event.source, DETAIL_TYPE, now, health_detail(redacted, self._instance, now)))
        result = await bus.publish(events)
        if isinstance(result, RequestRefusal):
            raise result.to_error()
        failure: Outcome | None = None
        for change, outcome in zip(changes, result.outcomes, strict=True):
            if isinstance(outcome, Accepted | Rejected):
                self._sent[change.component] = change.state
            if isinstance(outcome, Rejected):  # the same event would be rejected again
                log.warning("health event rejected", component=change.component, code=outcome.code)
            elif not isinstance(outcome, Accepted):
                failure = outcome
        if result.stop_error is not None:
            raise result.stop_error
        if failure is not None:
            raise DestinationUnavailable(f"the bus accepted only some of the health events: {failure}", code="retry")

    async def _open_bus(self, target: HealthTarget) -> VerifiedBus:
        """Return the bus of the target. Its client is kept until the target changes."""
        if self._bus is None or target != self._target:
            await self._exit_stack.aclose()
            identity = Identity(target.destination, target.stored_keys)
            bus = await self._exit_stack.enter_async_context(EventBridgeBus(identity, self._clock))
            self._bus, self._target = VerifiedBus(bus, self._clock, verify=target.destination.verify), target
        return self._bus

    def _warn(self, reason: str, hint: str) -> None:
        """Log the first failure of an outage."""
        if not self._has_warned:
            log.warning("health events not sent, the current states are sent later", reason=reason, hint=hint)
        self._has_warned = True
