"""What a crash left behind, as seen from outside: which events had reached the bus and were owed still."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from forwarder.ledger.sqlite.migrations import PENDING
from tests.fakes.eventbridge import ServedRequest, StrictEventBridge

IN_FLIGHT: Final = 8
"""Requests of one plan, and of the one before it, at the concurrency of the simulation."""

SEEN: Final = 200


@dataclass(frozen=True, slots=True)
class Crash:
    """`unsettled` are the executions whose answer was on its way or not yet booked; `requests` brought them."""

    unsettled: frozenset[str]
    requests: frozenset[int]

    @classmethod
    def seen(cls, ledger: Path, bridge: StrictEventBridge, is_taken_back: Callable[[int], bool]) -> Self:
        """What was delivered when `is_taken_back` says may be owed again on purpose."""
        owed = in_state(ledger, PENDING)
        spoiled = spoiled_requests(bridge)
        last = {event.detail["executionId"]: event for event in list(bridge.delivered)}
        unsettled = {
            id_: event.request_index
            for id_, event in last.items()
            if id_ in owed and event.request_index not in spoiled and not is_taken_back(event.request_index)
        }
        return cls(frozenset(unsettled), frozenset(unsettled.values()))


def in_state(ledger: Path, state: int) -> frozenset[str]:
    """The executions whose entry is in this state; see `forwarder.ledger.sqlite.connection`."""
    with closing(sqlite3.connect(ledger)) as db:
        return frozenset(row[0] for row in db.execute("SELECT execution_id FROM entries WHERE state = ?", (state,)))


def spoiled_requests(bridge: StrictEventBridge) -> frozenset[int]:
    """Requests whose events were delivered, and of which the forwarder was told otherwise or nothing."""
    return frozenset(served.index for served in list(bridge.served) if _is_spoiled(served))


def since_a_look(bridge: StrictEventBridge, bus: str) -> tuple[int, int]:
    """The requests since the forwarder saw a bus for the last time that it surely remembers."""
    served = list(bridge.served)
    looks = [each.index for each in served if each.bus == bus and each.status == SEEN]
    last = max((each.index for each in served), default=0)
    return max(0, looks[-2] - IN_FLIGHT) if len(looks) > 1 else 0, last + IN_FLIGHT


def _is_spoiled(served: ServedRequest) -> bool:
    fault = served.fault
    return bool(served.delivered) and fault is not None and not fault.name.startswith(("entry codes", "slow"))
