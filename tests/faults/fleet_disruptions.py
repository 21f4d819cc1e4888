"""The disruptions of a fleet by a seed: kills, pauses, stops, restarts, and a table that throttles or is cut off."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.faults.fleet_process import FleetProcess

KINDS: Final = {"kill": 4, "pause": 4, "terminate": 3, "throttle": 2, "cut off": 2}
"""The kinds of disruptions, with their weights."""

MAX_STOP_SECONDS: Final = 40.0
"""The time in which a process ends after SIGTERM, on a busy machine."""

POLL_SECONDS: Final = 0.1


@dataclass
class Disruptions:
    """A generator of disruptions. Each place has one at a time."""

    places: Sequence[FleetProcess]
    draw: Random
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)

    def begin(self) -> None:
        """Disrupt a place that is not disrupted yet, if there is one."""
        restart_unavailable(self.places)
        free = [place for place in self.places if not place.is_busy]
        kind = self.draw.choices([*KINDS], [*KINDS.values()])[0]
        if not free:
            return
        place = self.draw.choice(free)
        place.is_busy = True
        self.counts[kind] += 1
        match kind:
            case "kill":
                place.kill()
                self._restart(place, self.draw.uniform(0, 3))
            case "pause":  # a short one, or one that is longer than the death time
                place.pause()
                self._after(self.draw.choice([self.draw.uniform(0.3, 1.5), self.draw.uniform(2.5, 6)]), place.resume)
                self._end(place)
            case "terminate":
                place.terminate()
                self._await_end(place, time.monotonic() + MAX_STOP_SECONDS)
            case "throttle":
                place.throttle(self.draw.randrange(10**6))
                self._after(self.draw.uniform(1, 3), place.reconnect)
                self._end(place)
            case _:
                place.cut_off()
                self._after(self.draw.uniform(0.5, 4), place.reconnect)
                self._end(place)

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

    def _end(self, place: FleetProcess) -> None:
        """End the disruption of a place after all that is planned for it."""
        last = max(at for at, _, _ in self._due)
        self._after(last - time.monotonic(), lambda: _free(place))

    def _restart(self, place: FleetProcess, seconds: float) -> None:
        def restart() -> None:
            place.start()
            _free(place)

        self._after(seconds, restart)

    def _await_end(self, place: FleetProcess, deadline: float) -> None:
        def check() -> None:
            if place.has_ended():
                self._restart(place, self.draw.uniform(0, 2))
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


def _free(place: FleetProcess) -> None:
    place.is_busy = False
