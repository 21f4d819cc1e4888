"""The reader of one feed. It reads the pages from the newest on, and records the failures of each page."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from forwarder import heartbeat
from forwarder.alloy.client import LogsClient, Page
from forwarder.alloy.decode import Records, RejectedRecord
from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.errors import PageUndecodable, PageUnreadable, SourceUnavailable
from forwarder.intake.classify import Classifier
from forwarder.intake.listing_order import WRONG_ORDER, WRONG_ORDER_HINT
from forwarder.intake.scan import Scan
from forwarder.intake.transform import EntryBuilder, TransformQueue
from forwarder.ledger import Ledger
from forwarder.metrics import Metrics
from forwarder.model import Checkpoint, Entry, Execution, Feed
from forwarder.settings.models import SourceSettings

log = structlog.get_logger("intake")

MAX_ATTEMPTS = 4
"""Requests for one page before the scan is aborted."""

MAX_WAIT_SECONDS = 120.0
"""If the API asks for a longer wait, the poll is aborted and starts again when the wait is over."""

NO_TIMES = "the executions that the logs API lists have no time that can be read"
NO_TIMES_HINT = 'set start_from = "beginning" in [source]: it forwards failures whose times cannot be read'


@dataclass(frozen=True, slots=True)
class PollSummary:
    """The counts of a complete scan. `arrivals` are executions newer than the last watermark."""

    pages: int
    listed: int
    arrivals: int
    failures: int
    recorded: int
    rejected: int
    listing_problem: tuple[str, str] | None = None
    """Reason and hint, if the listing has a problem."""


@dataclass(slots=True)
class _Counts:
    failures: int = 0
    recorded: int = 0
    rejected: int = 0


class Reader:
    """The reader for one set of settings. It calls `on_recorded` when new entries are to be delivered."""

    def __init__(
        self,
        source: LogsClient,
        ledger: Ledger,
        settings: SourceSettings,
        builder: EntryBuilder,
        clock: Clock,
        metrics: Metrics,
        on_recorded: Callable[[], None],
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._settings = settings
        self._classifier = Classifier.from_settings(settings)
        self._transform_queue = TransformQueue(builder)
        self._clock = clock
        self._metrics = metrics
        self._on_recorded = on_recorded
        self._listing_problems: dict[Feed, tuple[str, str]] = {}
        self._last_pages: dict[Feed, int] = {}
        """The last page with executions, for feeds in the wrong order. It may have the newest executions."""

    async def read(self, feed: Feed, *, full_scan: bool = False) -> PollSummary:
        """Scan a feed that the ledger has.

        Raise SourceError if the scan is aborted. Its entries stay recorded, and the checkpoint does not move.
        """
        checkpoint = await self._ledger.checkpoint(feed)
        page = await self._fetch_page(feed, 0)
        # Read after the response, so that its duration does not delay the start of a new feed.
        now = self._clock.now()
        full_scan = full_scan or self._is_full_scan_due(checkpoint, now)
        scan = Scan.start(checkpoint, self._settings, page, now=now, full_scan=full_scan)
        has_listing_problem = feed in self._listing_problems
        scan.must_reach_end = has_listing_problem
        pages, counts = await self._read_pages(
            feed, page, scan, checkpoint, is_partial=has_listing_problem and not full_scan
        )
        self._log_scan(feed, scan)
        listing_problem = self._verify_listing(feed, scan, is_complete_scan=not has_listing_problem or full_scan)
        arrivals = counts.recorded if listing_problem else scan.arrivals
        return PollSummary(
            pages, scan.listed, arrivals, counts.failures, counts.recorded, counts.rejected, listing_problem
        )

    async def _read_pages(
        self, feed: Feed, page: Page, scan: Scan, checkpoint: Checkpoint, *, is_partial: bool
    ) -> tuple[int, _Counts]:
        """Read the pages and record their failures. Return the number of pages and the counts.

        A partial scan takes place between two full scans of a feed in the wrong order. It reads the first page and the
        last ones, and does not move the checkpoint.
        """
        new_checkpoint = scan.initial_checkpoint
        counts = _Counts()
        number = pages = 0
        while True:
            heartbeat.beat()
            scan.advance(page)
            failed = scan.select(page.records.executions, self._classifier)
            self._require_times(scan)
            entries = await self._build_entries(feed, failed, scan.started_at)
            if scan.is_complete and not is_partial:
                new_checkpoint = scan.checkpoint()
            # The checkpoint moves in the commit of the last page. If it moved earlier, a crash would lose that page.
            new = await self._record(feed, entries, new_checkpoint if new_checkpoint != checkpoint else None)
            pages += 1
            counts.failures += len(failed)
            counts.recorded += new
            counts.rejected += self._log_rejected(feed, page)
            self._metrics.count_page(listed=len(page.records.executions), failed=len(failed), new=new)
            self._metrics.count_classified(scan.outcomes)
            scan.outcomes.clear()
            if not page.is_last:
                self._last_pages[feed] = max(number, self._last_pages.get(feed, 0)) if is_partial else number
            if scan.is_complete:
                return pages, counts
            new_checkpoint = None
            number = max(1, self._last_pages.get(feed, 0)) if is_partial and number == 0 else number + 1
            page = await self._fetch_page(feed, number, max_page_records=scan.max_page_records)

    def _require_times(self, scan: Scan) -> None:
        """Raise PageUnreadable if no listed execution can be compared with the floor, because none has a time.

        With start_from = "beginning", no comparison is needed. If some executions have times, the feed is read, and a
        failure without a time is forwarded, because it may be new.
        """
        if scan.has_no_times and self._settings.start_from != "beginning":
            raise PageUnreadable(NO_TIMES, hint=NO_TIMES_HINT)

    def _verify_listing(self, feed: Feed, scan: Scan, *, is_complete_scan: bool) -> tuple[str, str] | None:
        """Return the reason and hint of a problem of the listing, or None, and store them for the next scan.

        Only a complete scan can clear a stored problem.
        """
        listing_problem = self._listing_problems.get(feed) if not is_complete_scan else None
        if scan.order.is_wrong:
            listing_problem = (WRONG_ORDER, WRONG_ORDER_HINT)
        elif scan.has_no_times:
            listing_problem = (NO_TIMES, WRONG_ORDER_HINT)
        if listing_problem is None:
            self._listing_problems.pop(feed, None)
            self._last_pages.pop(feed, None)
        else:
            self._listing_problems[feed] = listing_problem
        return listing_problem

    async def _build_entries(self, feed: Feed, failed: list[Execution], now: datetime) -> list[Entry]:
        """Return the entries of the executions that the ledger does not know. Other executions are not decoded."""
        known = await self._ledger.known_ids([execution.id for execution in failed])
        return await self._transform_queue.build_all([each for each in failed if each.id not in known], feed, now)

    async def _record(self, feed: Feed, entries: list[Entry], new_checkpoint: Checkpoint | None) -> int:
        if not entries and new_checkpoint is None:
            return 0
        new = await self._ledger.record(feed, entries, now=self._clock.now(), checkpoint=new_checkpoint)
        if new:
            self._on_recorded()
        return new

    async def _fetch_page(self, feed: Feed, number: int, *, max_page_records: int = 1) -> Page:
        """Return a page. `max_page_records` is the largest number of records on a page of this scan."""
        size = self._settings.page_size
        try:
            return await self._fetch_with_retries(feed, number, size)
        except PageUndecodable as error:
            log.warning(
                "page undecodable, fetching records one by one", feed=str(feed), page=number, reason=error.message
            )
            # The API may return fewer records than requested, and pages 0 and 1 may be the same page. The page does not
            # begin above this position, and a record that is read twice is recorded once.
            return await self._fetch_one_by_one(feed, range(max(0, number - 1) * max_page_records, (number + 1) * size))

    async def _fetch_one_by_one(self, feed: Feed, positions: range) -> Page:
        """Return a page of records that were requested one by one."""
        executions: list[Execution] = []
        rejected: list[RejectedRecord] = []
        api_now, ends_listing = None, False
        for position in positions:
            try:
                page = await self._fetch_with_retries(feed, position, 1)
            except PageUndecodable as error:
                rejected.append(RejectedRecord(error.message, error.digest))
                continue
            api_now = api_now or page.api_now
            if ends_listing := page.records.is_empty:
                break
            executions += page.records.executions
            rejected += page.records.rejected
        return Page(Records(executions, rejected), api_now, as_requested=False, ends_listing=ends_listing)

    async def _fetch_with_retries(self, feed: Feed, number: int, limit: int) -> Page:
        """Return a page. After a transient error, request it again, because a later page would skip its records."""
        backoff = Backoff(base=0.5, cap=10)
        for attempts_left in reversed(range(MAX_ATTEMPTS)):
            try:
                return await self._source.fetch_page(feed, number, limit)
            except SourceUnavailable as error:
                if attempts_left == 0 or error.retry_after > MAX_WAIT_SECONDS:
                    raise
                if not error.retry_after:  # otherwise the client delays the next request
                    await self._clock.sleep(backoff.next())
        raise AssertionError("the last try returns or raises")

    def _is_full_scan_due(self, checkpoint: Checkpoint, now: datetime) -> bool:
        return (
            checkpoint.full_scan_at is None
            or not timedelta() <= now - checkpoint.full_scan_at < self._settings.full_scan_interval
        )

    def _log_rejected(self, feed: Feed, page: Page) -> int:
        for rejected in page.records.rejected:
            log.warning("record rejected", feed=str(feed), reason=rejected.reason, digest=rejected.digest)
        return len(page.records.rejected)

    def _log_scan(self, feed: Feed, scan: Scan) -> None:
        for execution_id in scan.expired:
            log.warning("running execution expired", feed=str(feed), execution_id=execution_id)
        for status in scan.unknown_statuses:
            if self._classifier.is_new_status(status):
                log.warning(
                    "unknown execution status", feed=str(feed), status=status, action=self._settings.unknown_status
                )
