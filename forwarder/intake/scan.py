"""The state of one scan: the pages that it still has to read, and the checkpoint after it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from forwarder.alloy.client import Page
from forwarder.errors import PageUnreadable
from forwarder.intake.classify import Classifier
from forwarder.intake.listing_order import ListingOrder
from forwarder.intake.transform import ended_at
from forwarder.model import Checkpoint, Classification, Execution
from forwarder.settings.sections import SourceSettings

# Pages 0 and 1 may be the same page. If the API returns a page a third time, it has no other page.
# Known pages that differ from each other have moved: new executions push older ones to later pages, by many pages after
# a pause that the API requested. Only an API that begins again from its first page returns more of them than are known.
MAX_REPEATED_PAGES = 2

# Consecutive bad records must not hide the records below. If nothing can be read, the scan must end.
MAX_PAGES_WITHOUT_IDS = 10
MAX_CONSECUTIVE_REJECTED = 250


@dataclass(slots=True)
class Scan:
    """A scan of a feed, from the newest execution down to `horizon`, or to the end if `horizon` is None.

    `listed` counts the executions, and `arrivals` those that started after the watermark. `open_since` has the running
    executions, each with its start or the time of the first scan that listed it.
    """

    previous: Checkpoint
    started_at: datetime
    is_full_scan: bool
    floor: datetime | None
    horizon: datetime | None
    max_run_duration: timedelta
    is_complete: bool = False
    listed: int = 0
    arrivals: int = 0
    max_page_records: int = 1
    newest_start: datetime | None = None
    api_now: datetime | None = None
    open_since: dict[str, datetime] = field(default_factory=dict)
    expired: list[str] = field(default_factory=list)
    unknown_statuses: set[str] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)
    """The number of records by outcome, since the counter was last cleared."""
    order: ListingOrder = field(default_factory=lambda: ListingOrder(timedelta()))
    must_reach_end: bool = False
    """True if the listing of the feed had a problem before. The scan then reads to the end of the listing."""
    timed_count: int = 0
    untimed_count: int = 0
    """Executions with a readable time, and executions that have stopped without one."""
    _listed_ids: set[str] = field(default_factory=set)
    _page_ids: set[str] = field(default_factory=set)
    _single_record_ids: set[str] = field(default_factory=set)
    _last_ids: set[str] = field(default_factory=set)
    """The ids of the last page."""
    _new_pages: int = 0
    """The number of pages with ids that were not known."""
    _repeated_pages: int = 0
    _pages_without_ids: int = 0
    _consecutive_rejected: int = 0

    @classmethod
    def start(
        cls, checkpoint: Checkpoint, settings: SourceSettings, first: Page, *, now: datetime, full_scan: bool
    ) -> Self:
        """Return a scan of a feed, with the horizon and the floor that follow from the checkpoint.

        `first` is the first page. Its time converts a local floor to the clock of the API. `advance` adds the page.
        """
        floor = checkpoint.floor
        if checkpoint.local_floor is not None:
            since = (first.api_now or now) - (now - checkpoint.local_floor)
            floor = since if floor is None else max(floor, since)
        full_scan = full_scan or checkpoint.watermark is None
        horizon = _horizon(checkpoint, floor, settings, full_scan=full_scan)
        scan = cls(checkpoint, now, full_scan, floor, horizon, settings.max_run_duration)
        scan.open_since.update(checkpoint.open_executions)
        scan.api_now = first.api_now or now
        scan.order = ListingOrder(settings.overlap, checkpoint.watermark)
        starts = [start for execution in first.records.executions if (start := execution.start) is not None]
        scan.newest_start = max(starts, default=None)
        return scan

    @property
    def initial_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint to record with the first page, or None if the feed has no local floor.

        This checkpoint fixes the floor on the clock of the API, so that later scans do not compute another floor.
        """
        return None if self.previous.local_floor is None else replace(self.previous, floor=self.floor, local_floor=None)

    def advance(self, page: Page) -> None:
        """Add a page. Raise PageUnreadable if pages repeat or have no readable records.

        In both cases, the pages below cannot be reached.
        """
        executions = page.records.executions
        ids = {execution.id for execution in executions}
        self._require_new(page, ids)
        new_ids = ids - self._listed_ids
        self._listed_ids |= new_ids
        self.listed += len(new_ids)
        if new_ids:
            self.arrivals += len(new_ids.intersection(self._arrival_ids(executions)))
        self.order.add(executions)
        must_continue = self.must_reach_end or self.order.is_wrong
        self.is_complete = page.is_last or (self._is_below_horizon(executions) and not must_continue)
        self.outcomes["rejected"] += len(page.records.rejected)

    @property
    def has_no_times(self) -> bool:
        """Return whether no listed execution has a readable time, although some have stopped."""
        return self.untimed_count > 0 and self.timed_count == 0

    def _count_times(self, executions: Iterable[Execution], classifier: Classifier) -> None:
        """Count executions with a time, and stopped executions without a time. A queued execution counts as neither."""
        for execution in executions:
            if execution.start is not None or execution.stop is not None:
                self.timed_count += 1
                continue
            status = (execution.status or "").strip().lower()
            if execution.has_stopped or execution.finished is not None or (status and status not in classifier.running):
                self.untimed_count += 1

    def _require_new(self, page: Page, ids: set[str]) -> None:
        """Raise PageUnreadable if pages repeat, or if too many successive pages or records cannot be read.

        A page whose records were requested one by one may overlap the next page. This does not count as a repetition.
        """
        self._pages_without_ids = 0 if ids or page.is_last else self._pages_without_ids + 1
        self._consecutive_rejected = 0 if ids else self._consecutive_rejected + len(page.records.rejected)
        if self._pages_without_ids == MAX_PAGES_WITHOUT_IDS or self._consecutive_rejected > MAX_CONSECUTIVE_REJECTED:
            raise PageUnreadable("too many records in a row cannot be decoded")
        known_ids = self._page_ids if page.as_requested else self._page_ids | self._single_record_ids
        if ids:
            is_new = bool(ids - known_ids)
            self._new_pages += is_new
            self._repeated_pages = 0 if is_new or page.is_last else self._repeated_pages + 1
            may_have_moved = ids != self._last_ids
            if self._repeated_pages >= MAX_REPEATED_PAGES + self._new_pages * may_have_moved:
                raise PageUnreadable("the logs API returns the same page repeatedly")
            self._last_ids = ids
        if page.as_requested:
            self._page_ids |= ids
            self.max_page_records = max(self.max_page_records, len(ids) + len(page.records.rejected))
        else:
            self._single_record_ids |= ids

    def select(self, executions: Sequence[Execution], classifier: Classifier) -> list[Execution]:
        """Return the executions to forward. Add running executions to the open ones, and remove those that ended."""
        if not self.timed_count:
            self._count_times(executions, classifier)
        selected: dict[str, Execution] = {}
        to_classify = classifier.skip_obvious_successes(executions)
        if self.open_since:
            succeeded = {execution.id for execution in executions} - {execution.id for execution in to_classify}
            for execution_id in succeeded & self.open_since.keys():
                del self.open_since[execution_id]
        self.outcomes[Classification.SUCCEEDED.value] += len(executions) - len(to_classify)
        for execution in to_classify:
            classification = classifier.classify(execution)
            self.outcomes[classification.value] += 1
            if classification is Classification.RUNNING:
                self._track_open(execution)
                continue
            if classification is Classification.UNKNOWN:
                self.unknown_statuses.add((execution.status or "")[:64])
            was_open = (
                self.open_since.pop(execution.id, None) is not None or execution.id in self.previous.open_executions
            )
            # Without a stop time, an execution is known to have stopped after the floor only if it was open before.
            was_open = was_open and execution.stop is None
            is_failure = classification is Classification.FAILED or (
                classification is Classification.UNKNOWN and classifier.forward_unknown
            )
            if is_failure and (was_open or self._is_above_floor(execution)):
                selected[execution.id] = execution
        return list(selected.values())

    def checkpoint(self) -> Checkpoint:
        """Return the checkpoint after this scan. The scan has to be complete."""
        watermark = self.previous.watermark
        if self.newest_start is not None and self.api_now is not None:
            newest_start = min(self.newest_start, self.api_now)
            watermark = newest_start if watermark is None else max(watermark, newest_start)
        return Checkpoint(
            watermark=watermark,
            floor=self.floor,
            local_floor=None,
            full_scan_at=self.started_at if self.is_full_scan or self.order.is_wrong else self.previous.full_scan_at,
            open_executions=self._expire_open(),
            activity=self.previous.activity,
        )

    def _expire_open(self) -> dict[str, datetime]:
        expires_before = (self.api_now or self.started_at) - self.max_run_duration
        self.expired = [key for key, start in self.open_since.items() if start < expires_before]
        return {key: start for key, start in self.open_since.items() if start >= expires_before}

    def _track_open(self, execution: Execution) -> None:
        """Add a running execution, with its start or else the time of the first scan that listed it."""
        since = execution.start or self.open_since.get(execution.id) or self.api_now or self.started_at
        self.open_since[execution.id] = since

    def _is_above_floor(self, execution: Execution) -> bool:
        return self.floor is None or ended_at(execution, self.started_at) > self.floor

    def _arrival_ids(self, executions: Iterable[Execution]) -> Iterable[str]:
        watermark = self.previous.watermark
        for execution in executions:
            if watermark is None or ((start := execution.start) is not None and start > watermark):
                yield execution.id

    def _is_below_horizon(self, executions: list[Execution]) -> bool:
        """Return whether the pages below this one need not be read.

        They need not if the whole page is older than the horizon, or if its last execution is older by one more
        overlap, the most by which successive executions may be out of order. The second rule saves the second page of
        most polls. It does not apply to a full scan, nor before all executions that were running are listed.
        """
        # Executions without a time are ignored. A page in which no execution has a time is not below the horizon.
        with_time = [execution for execution in executions if execution.start is not None or execution.stop is not None]
        if self.horizon is None or not with_time:
            return False
        has_listed_open = self.previous.open_executions.keys() <= self._listed_ids
        if (
            not self.is_full_scan
            and has_listed_open
            and with_time[-1].is_older_than(self.horizon - self.order.tolerance)
        ):
            return True
        return all(execution.is_older_than(self.horizon) for execution in with_time)


def _horizon(
    checkpoint: Checkpoint, floor: datetime | None, settings: SourceSettings, *, full_scan: bool
) -> datetime | None:
    anchor = checkpoint.watermark or floor
    if anchor is None:
        return None
    if not full_scan:
        return anchor - settings.overlap
    return min([anchor - settings.max_lateness, *checkpoint.open_executions.values()])
