"""The state of each component, for the log, `status` and the health endpoints."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from forwarder.model import READY_STATES, State

log = structlog.get_logger("health")

SLOW_COMPONENT = "source"
SLOW_START_SECONDS = 120.0
"""The time in STARTING, without an error, after which the source counts as started.

The first discovery of thousands of users, or the first poll of long listings, takes longer than a container may take to
start. A process that is replaced meanwhile would never complete it.
"""


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """The state of one component. `reason` and `hint` are sentences for a person, and mostly empty if it is healthy."""

    state: State
    since: datetime
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """The next attempt of a component that failed.

    `at` is its time, or None if the component waits for the next event. `can_retry_now` is false if the other side
    has requested the wait.
    """

    at: datetime | None
    can_retry_now: bool = True


class Health:
    """The status of all components. Each change of a state is logged once."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._components: dict[str, ComponentStatus] = {}
        self._started: set[str] = set()
        self.changed = asyncio.Event()
        self._subscribed = [self.changed]

    def subscribe(self) -> asyncio.Event:
        """Return an event that is set at each change. Only the caller clears it."""
        event = asyncio.Event()
        self._subscribed.append(event)
        return event

    def report(self, name: str, state: State, reason: str = "", hint: str = "") -> None:
        """Set the status of a component, and log a change of its state.

        Do nothing if state and reason are the same as before. A new reason alone is not logged.
        """
        before = self._components.get(name)
        if before is not None and (before.state, before.reason) == (state, reason):
            return
        if state in READY_STATES or self._is_slow(name):
            self._started.add(name)
        since = before.since if before is not None and before.state == state else self._now()
        self._components[name] = ComponentStatus(state, since, reason, hint)
        for event in self._subscribed:
            event.set()
        if before is None or before.state != state:
            level = {State.FAILED: log.error, State.DEGRADED: log.warning}.get(state, log.info)
            level(
                "component state changed",
                component=name,
                state=state.value,
                **({"reason": reason, "hint": hint} if reason else {}),
            )

    def healthy(self, name: str) -> None:
        self.report(name, State.HEALTHY)

    def has_started(self, name: str) -> bool:
        """Return whether a component has been ready once since the start of the process, or only starts slowly."""
        return name in self._started or self._is_slow(name)

    def _is_slow(self, name: str) -> bool:
        status = self._components.get(name)
        if name != SLOW_COMPONENT or status is None or status.state is not State.STARTING:
            return False
        return (self._now() - status.since).total_seconds() >= SLOW_START_SECONDS

    @property
    def components(self) -> dict[str, ComponentStatus]:
        return dict(self._components)
