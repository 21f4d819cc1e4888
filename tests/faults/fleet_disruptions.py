"""The execution of the planned disruptions of a fleet: kills, pauses, stops, starts, and a disturbed table."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.faults import fleet_plan as plan
from tests.faults import fleet_record as record
from tests.faults.fleet_process import FleetProcess

TABLE_KINDS: Final = {
    plan.THROTTLE: record.THROTTLED,
    plan.LOSE_REPLIES: record.LOST_REPLIES,
    plan.CUT_OFF: record.CUT_OFF,
}

MAX_STOP_SECONDS: Final = 40.0
"""The time in which a process ends after SIGTERM, on a busy machine."""

POLL_SECONDS: Final = 0.1


@dataclass
class Disruptions:
    """The disruptions in progress, at most one for each place. A spare place whose process joins moves to `places`."""

    places: list[FleetProcess]
    spares: list[FleetProcess]
    problems: list[str] = field(default_factory=list)
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)

    def begin(self, planned: plan.Planned) -> bool:
        """Begin a disruption. Return False if its target is still disrupted, or is not a member yet but must be."""
        if planned.kind == plan.JOIN:
            place = self.spares.pop(0)
            place.start()
            self.places.append(place)
            return True
        place = self.places[planned.target]
        if place.is_busy or not place.is_running or (planned.needs_member and not place.is_member):
            return False
        place.is_busy = True
        self._disrupt(place, planned)
        return True

    def _disrupt(self, place: FleetProcess, planned: plan.Planned) -> None:
        match planned.kind:
            case plan.KILL:
                place.kill()
                self._restart(place, planned.seconds)
            case plan.PAUSE | plan.LONG_PAUSE:
                place.pause()
                self._end(place, planned.seconds, place.resume)
            case plan.TERMINATE:
                place.terminate()
                self._await_end(place, planned.seconds, time.monotonic() + MAX_STOP_SECONDS)
            case kind:
                place.disturb_table(TABLE_KINDS[kind], planned.seed)
                self._reconnect(place, planned.seconds)

    def run_due(self) -> None:
        """Do what follows from earlier disruptions and is due."""
        restart_unavailable(self.places)
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()

    def finish(self) -> None:
        """Wait until no place is disrupted."""
        while self._due:
            self.run_due()
            time.sleep(POLL_SECONDS)

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), action))

    def _end(self, place: FleetProcess, seconds: float, action: Callable[[], None]) -> None:
        def end() -> None:
            action()
            place.is_busy = False

        self._after(seconds, end)

    def _reconnect(self, place: FleetProcess, seconds: float) -> None:
        """End a disturbance of the table, once it has hit a request."""

        def check() -> None:
            if place.has_table_faults:
                self._end(place, 0, place.reconnect)
            else:
                self._after(POLL_SECONDS, check)

        self._after(seconds, check)

    def _restart(self, place: FleetProcess, seconds: float) -> None:
        self._end(place, seconds, place.start)

    def _await_end(self, place: FleetProcess, pause_seconds: float, deadline: float) -> None:
        def check() -> None:
            if place.has_ended():
                self._restart(place, pause_seconds)
            elif time.monotonic() > deadline:
                self.problems.append(f"{place.name} does not end after SIGTERM")
                place.kill()
                self._restart(place, 0)
            else:
                self._after(POLL_SECONDS, check)

        self._after(POLL_SECONDS, check)


def restart_unavailable(places: Sequence[FleetProcess]) -> None:
    """Start the processes again that ended because they were cut off from the table at their start."""
    for place in places:
        place.restart_if_unavailable()
