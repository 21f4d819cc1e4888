"""The verification that the logs API lists the newest executions first."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from forwarder.model import Execution

JITTER = timedelta(seconds=1)
"""The smallest difference between two times that shows an order. The clocks of several machines differ."""

MIN_ASCENDING_PAIRS = 2

WRONG_ORDER = "the logs API does not list the newest executions first"
WRONG_ORDER_HINT = "the feed is read to its end at every [source] full_scan_interval; until then failures may come late"


@dataclass(slots=True)
class _Track:
    """A comparison of successive executions in the listing by one of the times that the API may sort by."""

    tolerance: timedelta
    before: datetime | None = None
    ascending: int = 0
    descending: int = 0
    broken: bool = False

    def add(self, time: datetime | None) -> None:
        """Compare the time of an execution with that of the one before. Ignore an execution without this time."""
        if time is None:
            return
        if self.before is not None:
            if time - self.before > JITTER:
                self.ascending += 1
                self.broken = self.broken or time - self.before > self.tolerance
            elif self.before - time > JITTER:
                self.descending += 1
        self.before = time

    @property
    def is_wrong(self) -> bool:
        return self.broken or (self.ascending >= MIN_ASCENDING_PAIRS and self.ascending > self.descending)


@dataclass(slots=True)
class ListingOrder:
    """The order of the executions in one scan. `tolerance` is the overlap of two scans.

    The API does not document the field by which it sorts. The order is wrong if it is wrong by each of three times: the
    start, the stop, and the stop or else the start. It is also wrong if the first page is older than `watermark` by
    more than `tolerance`.
    """

    tolerance: timedelta
    watermark: datetime | None = None
    """The newest start in earlier scans, or None before the first complete scan."""
    _first_page: bool = True
    _begins_old: bool = False
    _ids: set[str] = field(default_factory=set)
    _tracks: tuple[_Track, _Track, _Track] = field(init=False)

    def __post_init__(self) -> None:
        self._tracks = (_Track(self.tolerance), _Track(self.tolerance), _Track(self.tolerance))

    def add(self, executions: Sequence[Execution]) -> None:
        """Add a page. Ignore executions of earlier pages: new executions have moved them to this page."""
        by_start, by_stop, by_latest = self._tracks
        latest: datetime | None = None
        for execution in executions:
            if execution.id in self._ids:
                continue
            self._ids.add(execution.id)
            start, stop = execution.start, execution.stop
            by_start.add(start)
            by_stop.add(stop)
            by_latest.add(stop or start)
            newest = max(start, stop) if start and stop else stop or start
            if newest is not None and (latest is None or newest > latest):
                latest = newest
        if self._first_page and latest is not None and self.watermark is not None:
            self._begins_old = latest < self.watermark - self.tolerance
        self._first_page = False

    @property
    def is_wrong(self) -> bool:
        return self._begins_old or all(track.is_wrong for track in self._tracks)
