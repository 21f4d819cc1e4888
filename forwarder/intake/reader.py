"""The reader of one feed. It reads the pages from the newest on, and records the failures of each page."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from forwarder import heartbeat
from forwarder.alloy.client import LogsClient, Page
from forwarder.clock import Clock
from forwarder.errors import PageUnreadable, SourceError
from forwarder.intake.classify import Classifier
from forwarder.intake.failure_rates import observe
from forwarder.intake.listing_problems import NO_TIMES, ListingProblems
from forwarder.intake.long_scans import LongScans
from forwarder.intake.oversize import OversizeHandler
from forwarder.intake.page_reader import PageReader
from forwarder.intake.scan import Scan
from forwarder.intake.transform import EntryBuilder, TransformQueue
from forwarder.ledger import Ledger
from forwarder.metrics import Metrics
from forwarder.model import Checkpoint, Entry, Execution, Feed, FeedActivity
from forwarder.settings.sections import SourceSettings

log = structlog.get_logger("intake")

NO_TIMES_HINT = 'set start_from = "beginning" in [source]: it forwards failures whose times cannot be read'
EXPIRED_HINT = "it ran longer than source.max_run_duration and is no longer followed"
UNKNOWN_STATUS_HINT = "add it to success_statuses, failure_statuses or running_statuses in [source]"
NO_STATUS_HINT = "set unknown_status in [source]"


@dataclass(frozen=True, slots=True)
class PollSummary:
    """The counts of a complete scan, and the activity of the feed after it."""

    pages: int
    listed: int
    failures: int
    recorded: int
    rejected: int
    activity: FeedActivity
    is_full_scan: bool = False
    listing_problem: tuple[str, str] | None = None
    """Reason and hint, if the listing has a problem."""


@dataclass(slots=True)
class _Counts:
    failures: int = 0
    recorded: int = 0
    rejected: int = 0
    new_times: list[datetime] = field(default_factory=list)
    """The times of the failures that were not known before."""


class Reader:
    """The reader for one set of settings.

    It calls `on_recorded` when new entries are to be delivered, and `on_long_scan` when a scan becomes long.
    """

    def __init__(
        self,
        source: LogsClient,
        ledger: Ledger,
        settings: SourceSettings,
        builder: EntryBuilder,
        clock: Clock,
        metrics: Metrics,
        on_recorded: Callable[[], None],
        oversize: OversizeHandler | None = None,
        on_long_scan: Callable[[Feed], None] = lambda _: None,
    ) -> None:
        self._page_reader = PageReader(source, settings.page_size, clock)
        self._ledger = ledger
        self._settings = settings
        self._oversize = oversize
        self._long_scans = LongScans(settings.concurrency, on_long_scan)
        self._classifier = Classifier.from_settings(settings)
        self._transform_queue = TransformQueue(builder)
        self._clock = clock
        self._metrics = metrics
        self._on_recorded = on_recorded
        self._listing_problems = ListingProblems()
        self._activities: dict[Feed, FeedActivity] = {}
        """The activity of each feed after its last scan. A partial scan does not save it in a checkpoint."""

    async def read(self, feed: Feed, *, full_scan: bool = False) -> PollSummary:
        """Scan a feed that the ledger has.

        Raise SourceError if the scan is aborted. Its entries stay recorded, and the checkpoint does not move.
        """
        checkpoint = await self._ledger.checkpoint(feed)
        page = await self._page_reader.read(feed, 0)
        # Read after the response, so that its duration does not delay the start of a new feed.
        now = self._clock.now()
        full_scan = full_scan or self._is_full_scan_due(checkpoint, now)
        scan = Scan.start(checkpoint, self._settings, page, now=now, full_scan=full_scan)
        scan.must_reach_end = feed in self._listing_problems
        is_partial = scan.must_reach_end and not full_scan
        counts = _Counts()
        try:
            pages, activity = await self._read_pages(feed, page, scan, checkpoint, counts, is_partial=is_partial)
        except SourceError:
            # The next scan does not count the recorded failures again, because the ledger knows them. Executions count
            # as 0 here, because the next scan counts all of them: the checkpoint does not move.
            self._activities[feed] = self._observe(feed, scan, checkpoint, counts, executions=0)
            raise
        finally:
            self._long_scans.end(feed)
        self._log_scan(feed, scan)
        listing_problem = self._listing_problems.update(feed, scan, is_partial=is_partial)
        return PollSummary(
            pages,
            scan.listed,
            counts.failures,
            counts.recorded,
            counts.rejected,
            activity,
            is_full_scan=full_scan,
            listing_problem=listing_problem,
        )

    def forget_all_except(self, feeds: Collection[Feed]) -> None:
        """Remove what is stored of the other feeds, which were removed. The ledger keeps their checkpoints."""
        self._listing_problems.forget_all_except(feeds)
        for feed in self._activities.keys() - feeds:
            del self._activities[feed]

    async def _read_pages(
        self, feed: Feed, page: Page, scan: Scan, checkpoint: Checkpoint, counts: _Counts, *, is_partial: bool
    ) -> tuple[int, FeedActivity]:
        """Read the pages, and record and count their failures. Return the number of pages and the new activity.

        A partial scan is described in `ListingProblems`.
        """
        new_checkpoint = scan.initial_checkpoint
        number = pages = 0
        while True:
            heartbeat.beat()
            read_at = self._clock.monotonic()
            scan.advance(page)
            failed = scan.select(page.records.executions, self._classifier)
            self._require_times(scan)
            entries = await self._build_entries(feed, failed, scan.started_at)
            counts.new_times += [entry.time for entry in entries]
            # The first scan lists executions of an unknown span of time, which say nothing about their rate.
            executions = 0 if checkpoint.watermark is None else scan.arrivals
            activity = self._observe(feed, scan, checkpoint, counts, executions=executions)
            if scan.is_complete and not is_partial:
                new_checkpoint = replace(scan.checkpoint(), activity=activity)
            # The checkpoint moves in the commit of the last page. If it moved earlier, a crash would lose that page.
            new = await self._record(feed, entries, new_checkpoint if new_checkpoint != checkpoint else None)
            pages += 1
            counts.failures += len(failed)
            counts.recorded += new
            counts.rejected += self._log_rejected(feed, page)
            recording = timedelta(seconds=self._clock.monotonic() - read_at)
            self._observe_detections(failed, entries, (page.api_now or scan.started_at) + recording)
            self._metrics.count_page(listed=len(page.records.executions), failed=len(failed), new=new)
            self._metrics.count_classified(scan.outcomes)
            scan.outcomes.clear()
            if not page.is_last:
                self._listing_problems.record_page(feed, number, is_partial=is_partial)
            if scan.is_complete:
                self._activities[feed] = activity
                return pages, activity
            new_checkpoint = None
            del page, failed, entries  # many scans may wait
            await self._long_scans.admit(feed, pages)
            number = self._listing_problems.next_page(feed, number, is_partial=is_partial)
            page = await self._page_reader.read(feed, number, max_page_records=scan.max_page_records)

    def _observe(
        self, feed: Feed, scan: Scan, checkpoint: Checkpoint, counts: _Counts, *, executions: int
    ) -> FeedActivity:
        """Return the activity of the feed after a scan that found `counts` and these new executions."""
        api_now = scan.api_now or scan.started_at
        return observe(
            self._activities.get(feed, checkpoint.activity),
            scan.started_at,
            executions=executions,
            failure_ages=[api_now - time for time in counts.new_times],
        )

    def _observe_detections(self, failed: list[Execution], entries: list[Entry], recorded_at: datetime) -> None:
        """Record the delay of each new failure whose stop is known, until it was recorded, on the clock of the API."""
        new_ids = {entry.execution_id for entry in entries}
        stops = [each.stop for each in failed if each.id in new_ids]
        self._metrics.observe_detections((recorded_at - stop).total_seconds() for stop in stops if stop is not None)

    def _require_times(self, scan: Scan) -> None:
        """Raise PageUnreadable if no listed execution can be compared with the floor, because none has a time.

        With start_from = "beginning", no comparison is needed. If some executions have times, the feed is read, and a
        failure without a time is forwarded, because it may be new.
        """
        if scan.has_no_times and self._settings.start_from != "beginning":
            raise PageUnreadable(NO_TIMES, hint=NO_TIMES_HINT)

    async def _build_entries(self, feed: Feed, failed: list[Execution], now: datetime) -> list[Entry]:
        """Return the entries of the executions that the ledger does not know. Other executions are not decoded."""
        known = await self._ledger.known_ids([execution.id for execution in failed])
        entries = await self._transform_queue.build_all([each for each in failed if each.id not in known], feed, now)
        return await self._oversize.fit_all(entries) if self._oversize else entries

    async def _record(self, feed: Feed, entries: list[Entry], new_checkpoint: Checkpoint | None) -> int:
        if not entries and new_checkpoint is None:
            return 0
        new = await self._ledger.record(feed, entries, now=self._clock.now(), checkpoint=new_checkpoint)
        if new:
            self._on_recorded()
        return new

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
            log.warning("running execution expired", feed=str(feed), execution_id=execution_id, hint=EXPIRED_HINT)
        for status in scan.unknown_statuses:
            if self._classifier.is_new_status(status):
                log.warning(
                    "unknown execution status",
                    feed=str(feed),
                    status=status,
                    action=self._settings.unknown_status,
                    hint=UNKNOWN_STATUS_HINT if status else NO_STATUS_HINT,
                )
