"""Which fault strikes which request: those queued for the next ones first, then the standing rules."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.wire import Request

F = TypeVar("F")


class FaultPlan(Generic[F]):
    """Filled by the test while the server's thread picks from it."""

    def __init__(self) -> None:
        self._queued: list[tuple[Callable[[Request], bool], F]] = []
        self._rules: list[Callable[[Request], F | None]] = []
        self._lock = threading.Lock()

    def next(self, *faults: F, when: Callable[[Request], bool]) -> None:
        """One fault for each of the next requests that are meant, after those queued before."""
        with self._lock:
            self._queued += [(when, fault) for fault in faults]

    def always(self, rule: Callable[[Request], F | None]) -> None:
        """Ask the rule at every request that no queued fault is for; the first rule with a fault wins."""
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        """All is well again."""
        with self._lock:
            self._queued.clear()
            self._rules.clear()

    def pick(self, request: Request) -> F | None:
        with self._lock:
            for place, (when, fault) in enumerate(self._queued):
                if when(request):
                    del self._queued[place]
                    return fault
            rules = list(self._rules)
        faults = (rule(request) for rule in rules)
        return next((fault for fault in faults if fault is not None), None)
