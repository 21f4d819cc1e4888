"""What pages and doors may touch of the daemon, and nothing else of it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from forwarder.beats import Beats
from forwarder.clock import Clock
from forwarder.health import Health
from forwarder.ledger import Ledger, Reading
from forwarder.metrics import Metrics
from forwarder.model import Feed, State
from forwarder.settings import Place, Settings
from forwarder.web.oldest import OldestOwed


@dataclass(frozen=True, slots=True)
class Desk:
    """One for a process; it outlives plans.

    `settings` are those in force. `readings` gives the last reading of each feed. `nudge` makes the feeds of a workflow
    due now, those of one user where one is named, and tells how many there are. `stopping` is set once the daemon
    drains: what lasts, such as a stream of events, ends then.
    """

    place: Place
    clock: Clock
    ledger: Ledger
    oldest_owed: OldestOwed
    health: Health
    beats: Beats
    metrics: Metrics
    settings: Callable[[], Settings]
    readings: Callable[[], Mapping[Feed, Reading]]
    nudge: Callable[[str, str | None], int]
    stopping: asyncio.Event

    def state_of(self, part: str) -> State:
        found = self.health.parts.get(part)
        return State.STARTING if found is None else found.state


DESK = web.AppKey("desk", Desk)
"""Where a handler finds it: `request.app[DESK]`."""
