"""One reading of a feed as it goes down the pages: how far it must go, and what it will leave behind."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from forwarder.alloy.client import Page
from forwarder.errors import PageUnreadable
from forwarder.intake.listing_order import ListingOrder
from forwarder.intake.selection import Selection
from forwarder.intake.shaping import ended_at
from forwarder.model import Checkpoint, Execution, Verdict
from forwarder.settings.fields import SourceSettings

# The same page may stand under 0 and under 1; one that comes a third time stands everywhere.
REPEATS = 2

# Bad records in a row must not hide what is below them; an API of which nothing can be read must end a reading.
MOST_PAGES_WITHOUT_IDS = 10
MOST_REFUSED_RUNNING = 250


@dataclass(slots=True)
class Progress:
    """`horizon` is how far down the reading goes, None for to the end. `deep` says which kind of reading it is."""

    before: Checkpoint
    started_at: datetime
    deep: bool
    floor: datetime | None
    horizon: datetime | None
    retention: timedelta
    complete: bool = False
    listed: int = 0
    arrived: int = 0
    largest: int = 1
    newest: datetime | None = None
    api_now: datetime | None = None
    still_open: dict[str, datetime] = field(default_factory=dict)
    given_up: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)
    """Records by what became of them, since they were last taken away."""
    order: ListingOrder = field(default_factory=lambda: ListingOrder(timedelta()))
    to_the_end: bool = False
    """The order was wrong before: the scan ends with the listing."""
    timed: int = 0
    untimed: int = 0
    """Executions with a readable time, and executions that have stopped without one."""
    _ids: set[str] = field(default_factory=set)
    _on_pages: set[str] = field(default_factory=set)
    _alone: set[str] = field(default_factory=set)
    _repeats: int = 0
    _pages_without_ids: int = 0
    _refused_running: int = 0

    @classmethod
    def begin(cls, checkpoint: Checkpoint, settings: SourceSettings, first: Page, *, now: datetime, deep: bool) -> Self:
        """From the first page, since only the API's own clock can say where a new feed begins."""
        floor = checkpoint.floor
        if checkpoint.since is not None:
            since = (first.api_now or now) - (now - checkpoint.since)
            floor = since if floor is None else max(floor, since)
        deep = deep or checkpoint.watermark is None
        horizon = _horizon(checkpoint, floor, settings, deep=deep)
        progress = cls(checkpoint, now, deep, floor, horizon, settings.retention)
        progress.still_open.update(checkpoint.open)
        progress.api_now = first.api_now or now
        progress.order = ListingOrder(settings.overlap, checkpoint.watermark)
        starts = [start for execution in first.records.executions if (start := execution.start) is not None]
        progress.newest = max(starts, default=None)
        return progress

    @property
    def opening(self) -> Checkpoint | None:
        """The checkpoint to keep with the first page already: a floor that was translated must not move again."""
        return None if self.before.since is None else replace(self.before, floor=self.floor, since=None)

    def follow(self, page: Page) -> None:
        """Take note of a page. Raises PageUnreadable where pages repeat, for then there is no way down."""
        executions = page.records.executions
        ids = {execution.id for execution in executions}
        self._require_new(page, ids)
        fresh = ids - self._ids
        self._ids |= fresh
        self.listed += len(fresh)
        if fresh:
            self.arrived += len(fresh.intersection(self._arrivals(executions)))
        self.order.add(executions)
        goes_on = self.to_the_end or self.order.is_wrong
        self.complete = page.is_last or (self._is_all_old(executions) and not goes_on)
        self.outcomes["refused"] += len(page.records.refused)

    @property
    def has_no_times(self) -> bool:
        """Nothing that was listed has a readable time, although some of it has stopped."""
        return self.untimed > 0 and self.timed == 0

    def _count_times(self, executions: Iterable[Execution], selection: Selection) -> None:
        """A run that waits for its turn has no time yet."""
        for execution in executions:
            if execution.start is not None or execution.stop is not None:
                self.timed += 1
                continue
            status = (execution.status or "").strip().lower()
            if execution.has_stopped or execution.finished is not None or (status and status not in selection.running):
                self.untimed += 1

    def _require_new(self, page: Page, ids: set[str]) -> None:
        """Records that were asked for alone reach into the pages below, which are no repetition for that."""
        self._pages_without_ids = 0 if ids or page.is_last else self._pages_without_ids + 1
        self._refused_running = 0 if ids else self._refused_running + len(page.records.refused)
        if self._pages_without_ids == MOST_PAGES_WITHOUT_IDS or self._refused_running > MOST_REFUSED_RUNNING:
            raise PageUnreadable("nothing that the logs API lists can be read")
        met = self._on_pages if page.as_asked else self._on_pages | self._alone
        if ids:
            self._repeats = 0 if ids - met or page.is_last else self._repeats + 1
        if self._repeats == REPEATS:
            raise PageUnreadable("the logs API gives the same page again and again")
        if page.as_asked:
            self._on_pages |= ids
            self.largest = max(self.largest, len(ids) + len(page.records.refused))
        else:
            self._alone |= ids

    def wanted(self, executions: Sequence[Execution], selection: Selection) -> list[Execution]:
        """Those to be forwarded. A running one is remembered as open, and one that ended is open no more."""
        if not self.timed:
            self._count_times(executions, selection)
        chosen: dict[str, Execution] = {}
        in_question = selection.in_question(executions)
        if self.still_open:
            succeeded = {execution.id for execution in executions} - {execution.id for execution in in_question}
            for execution_id in succeeded & self.still_open.keys():
                del self.still_open[execution_id]
        self.outcomes[Verdict.SUCCEEDED.value] += len(executions) - len(in_question)
        for execution in in_question:
            verdict = selection.judge(execution)
            self.outcomes[verdict.value] += 1
            if verdict is Verdict.RUNNING:
                self._keep_open(execution)
                continue
            if verdict is Verdict.UNKNOWN:
                self.unknown.add((execution.status or "")[:64])
            was_open = self.still_open.pop(execution.id, None) is not None or execution.id in self.before.open
            # Where it does not say when it stopped, only its having been open tells that it was after the floor.
            was_open = was_open and execution.stop is None
            is_failure = verdict is Verdict.FAILED or (verdict is Verdict.UNKNOWN and selection.forward_unknown)
            if is_failure and (was_open or self._is_above_floor(execution)):
                chosen[execution.id] = execution
        return list(chosen.values())

    def checkpoint(self) -> Checkpoint:
        """Where the feed stands after this reading, if it is complete."""
        watermark = self.before.watermark
        if self.newest is not None and self.api_now is not None:
            newest = min(self.newest, self.api_now)
            watermark = newest if watermark is None else max(watermark, newest)
        return Checkpoint(
            watermark=watermark,
            floor=self.floor,
            since=None,
            deep_at=self.started_at if self.deep or self.order.is_wrong else self.before.deep_at,
            open=self._open_now(),
        )

    def _open_now(self) -> dict[str, datetime]:
        given_up_before = (self.api_now or self.started_at) - self.retention
        self.given_up = [key for key, start in self.still_open.items() if start < given_up_before]
        return {key: start for key, start in self.still_open.items() if start >= given_up_before}

    def _keep_open(self, execution: Execution) -> None:
        """A run without a readable start is bounded by when it was first seen."""
        seen_at = execution.start or self.still_open.get(execution.id) or self.api_now or self.started_at
        self.still_open[execution.id] = seen_at

    def _is_above_floor(self, execution: Execution) -> bool:
        return self.floor is None or ended_at(execution, self.started_at) > self.floor

    def _arrivals(self, executions: Iterable[Execution]) -> Iterable[str]:
        watermark = self.before.watermark
        for execution in executions:
            if watermark is None or ((start := execution.start) is not None and start > watermark):
                yield execution.id

    def _is_all_old(self, executions: list[Execution]) -> bool:
        if self.horizon is None or not executions:
            return False
        # An execution without a time is as old as its neighbours. Alone it is never old.
        timed = [execution for execution in executions if execution.start is not None or execution.stop is not None]
        return bool(timed) and all(execution.is_older_than(self.horizon) for execution in timed)


def _horizon(
    checkpoint: Checkpoint, floor: datetime | None, settings: SourceSettings, *, deep: bool
) -> datetime | None:
    anchor = checkpoint.watermark or floor
    if anchor is None:
        return None
    if not deep:
        return anchor - settings.overlap
    return min([anchor - settings.late_window, *checkpoint.open.values()])
