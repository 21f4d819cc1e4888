"""The plan of faults: those queued for the next requests first, then the rules."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.wire import Request

F = TypeVar("F")


class FaultPlan(Generic[F]):
    """A plan that the test fills while the server's thread picks from it."""

    def __init__(self) -> None:
        self._queued: list[tuple[Callable[[Request], bool], F]] = []
        self._rules: list[Callable[[Request], F | None]] = []
        self._lock = threading.Lock()

    def next(self, *faults: F, when: Callable[[Request], bool]) -> None:
        """Queue one fault for each of the next requests that match, after the queued ones."""
        with self._lock:
            self._queued += [(when, fault) for fault in faults]

    def always(self, rule: Callable[[Request], F | None]) -> None:
        """Apply a rule to every request without a queued fault. The first rule that returns a fault wins."""
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        """Remove all queued faults and rules."""
        with self._lock:
            self._queued.clear()
            self._rules.clear()

    def pick(self, request: Request) -> F | None:
        with self._lock:
            for position, (when, fault) in enumerate(self._queued):
                if when(request):
                    del self._queued[position]
                    return fault
            rules = list(self._rules)
        faults = (rule(request) for rule in rules)
        return next((fault for fault in faults if fault is not None), None)
