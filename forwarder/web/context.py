"""The parts of the daemon that the web UI and the health endpoints may use."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from forwarder.clock import Clock
from forwarder.health import Health, NextAttempt
from forwarder.heartbeat import Heartbeats
from forwarder.ledger import Ledger, PollResult
from forwarder.metrics import Metrics
from forwarder.model import Feed, State
from forwarder.settings import ConfigSource, Settings


@dataclass(frozen=True, slots=True)
class WebContext:
    """The context of the handlers. It outlives reloads of the settings.

    `settings` returns the settings in force, `polls` the last poll of each feed. `trigger` makes the feeds of a
    workflow due now (of one user if one is named) and returns their number. `next_attempts` returns the next attempt of
    each component that backs off. `retry_now` ends the backoff of a component, if the forwarder has chosen it, and
    returns whether it did; a wait that the API requested stays. `rerun` requests another run of an execution from
    Alloy, and returns the response or raises ForwarderError. `stopping` is set when the daemon begins to drain; a
    stream of events ends then.
    """

    config_source: ConfigSource
    clock: Clock
    ledger: Ledger
    health: Health
    heartbeats: Heartbeats
    metrics: Metrics
    settings: Callable[[], Settings]
    polls: Callable[[], Mapping[Feed, PollResult]]
    trigger: Callable[[str, str | None], int]
    next_attempts: Callable[[], Mapping[str, NextAttempt]]
    retry_now: Callable[[str], bool]
    rerun: Callable[[Feed, str], Awaitable[str]]
    stopping: asyncio.Event

    def state_of(self, component: str) -> State:
        found = self.health.components.get(component)
        return State.STARTING if found is None else found.state


CONTEXT = web.AppKey("context", WebContext)
"""Handlers use `request.app[CONTEXT]`."""
