"""The state after a crash, read from outside: the events that had reached the bus and were still pending."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from forwarder.ledger.sqlite.migrations import PENDING
from tests.fakes.eventbridge import ServedRequest, StrictEventBridge

MAX_IN_FLIGHT: Final = 8
"""The requests of one claim, and of the claim before it, at the concurrency of the simulation."""

HTTP_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Crash:
    """The executions whose response was in flight or not yet committed, and the requests that delivered them."""

    unsettled: frozenset[str]
    requests: frozenset[int]

    @classmethod
    def inspect(cls, ledger: Path, bridge: StrictEventBridge, may_be_requeued: Callable[[int], bool]) -> Self:
        """Read the state from the ledger. `may_be_requeued` excludes requests whose events are requeued on purpose."""
        pending = in_state(ledger, PENDING)
        misreported = misreported_requests(bridge)
        last = {event.detail["executionId"]: event for event in list(bridge.delivered)}
        unsettled = {
            id_: event.request_index
            for id_, event in last.items()
            if id_ in pending and event.request_index not in misreported and not may_be_requeued(event.request_index)
        }
        return cls(frozenset(unsettled), frozenset(unsettled.values()))


def in_state(ledger: Path, state: int) -> frozenset[str]:
    """Return the executions whose entry is in this state; see `forwarder.ledger.sqlite.migrations`."""
    with closing(sqlite3.connect(ledger)) as db:
        return frozenset(row[0] for row in db.execute("SELECT execution_id FROM entries WHERE state = ?", (state,)))


def misreported_requests(bridge: StrictEventBridge) -> frozenset[int]:
    """Return the requests that delivered events, and whose response was lost or reported a failure."""
    return frozenset(served.index for served in list(bridge.served) if _is_misreported(served))


def requests_since_check(bridge: StrictEventBridge, bus: str) -> tuple[int, int]:
    """Return the range of requests since the last successful check of a bus that the ledger surely has recorded."""
    served = list(bridge.served)
    checks = [each.index for each in served if each.bus == bus and each.status == HTTP_OK]
    last = max((each.index for each in served), default=0)
    return max(0, checks[-2] - MAX_IN_FLIGHT) if len(checks) > 1 else 0, last + MAX_IN_FLIGHT


def _is_misreported(served: ServedRequest) -> bool:
    fault = served.fault
    return bool(served.delivered) and fault is not None and not fault.name.startswith(("entry codes", "slow"))
