"""Reading one feed: down its pages, recording what failed on each, until it is known that nothing was missed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from forwarder.alloy.client import LogsClient, Page
from forwarder.alloy.dialect import Records, Refused
from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.errors import PageUndecodable, PageUnreadable, SourceUnavailable
from forwarder.intake.listing_order import WRONG_ORDER, WRONG_ORDER_HINT
from forwarder.intake.progress import Progress
from forwarder.intake.selection import Selection
from forwarder.intake.turns import Shapes, Turns
from forwarder.ledger import Ledger
from forwarder.metrics import Metrics
from forwarder.model import Checkpoint, Entry, Execution, Feed
from forwarder.settings.fields import SourceSettings

log = structlog.get_logger("intake")

TRIES = 4
"""How often a page is asked for before the reading is cut short."""

LONGEST_WAIT = 120.0
"""Seconds. Told to wait longer, a reading is cut short and begins anew when the wait is over."""

NO_TIMES = "the executions that the logs API lists have no time that can be read"
NO_TIMES_HINT = 'set start_from = "beginning" in [source]: it forwards failures whose times cannot be read'


@dataclass(frozen=True, slots=True)
class ReadingDone:
    """What a complete reading came to. `arrived` are executions newer than the last watermark."""

    pages: int
    listed: int
    arrived: int
    failures: int
    recorded: int
    refused: int
    doubt: tuple[str, str] | None = None
    """Reason and hint, if the listing is not as it should be."""


@dataclass(slots=True)
class _Counts:
    failures: int = 0
    recorded: int = 0
    refused: int = 0


class Reader:
    """Reads feeds for one set of settings. `recorded` is called when there is something new to deliver."""

    def __init__(
        self,
        source: LogsClient,
        ledger: Ledger,
        settings: SourceSettings,
        shaper: Shapes,
        clock: Clock,
        metrics: Metrics,
        recorded: Callable[[], None],
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._settings = settings
        self._selection = Selection.of(settings)
        self._turns = Turns(shaper)
        self._clock = clock
        self._metrics = metrics
        self._recorded = recorded
        self._doubts: dict[Feed, tuple[str, str]] = {}
        self._last_pages: dict[Feed, int] = {}
        """The last page that held anything, for feeds whose order is wrong: there may be the newest executions."""

    async def read(self, feed: Feed, *, deep: bool = False) -> ReadingDone:
        """One reading of a feed that was begun in the ledger.

        Raises SourceError where it was cut short: what it recorded stays recorded, and the checkpoint where it was.
        """
        checkpoint = await self._ledger.checkpoint(feed)
        page = await self._page(feed, 0)
        # After the answer: the time it took must not be added to where a new feed begins.
        now = self._clock.now()
        deep = deep or self._is_deep_due(checkpoint, now)
        progress = Progress.begin(checkpoint, self._settings, page, now=now, deep=deep)
        in_doubt = feed in self._doubts
        progress.to_the_end = in_doubt
        pages, scan = await self._scan(feed, page, progress, checkpoint, partial=in_doubt and not deep)
        self._tell(feed, progress)
        doubt = self._judge_listing(feed, progress, is_whole=not in_doubt or deep)
        arrived = scan.recorded if doubt else progress.arrived
        return ReadingDone(pages, progress.listed, arrived, scan.failures, scan.recorded, scan.refused, doubt)

    async def _scan(
        self, feed: Feed, page: Page, progress: Progress, checkpoint: Checkpoint, *, partial: bool
    ) -> tuple[int, _Counts]:
        """Read the pages and record their failures; return the number of pages.

        A `partial` scan is one between two full scans of a feed whose order is wrong: it reads the first page and the
        last ones, and leaves the checkpoint where it is.
        """
        moves_to = progress.opening
        counts = _Counts()
        number = pages = 0
        while True:
            progress.follow(page)
            failed = progress.wanted(page.records.executions, self._selection)
            self._require_times(progress)
            entries = await self._entries(feed, failed, progress.started_at)
            if progress.complete and not partial:
                moves_to = progress.checkpoint()
            # The checkpoint moves in the commit of the last page: before it, a crash would lose that page.
            new = await self._record(feed, entries, moves_to if moves_to != checkpoint else None)
            pages += 1
            counts.failures += len(failed)
            counts.recorded += new
            counts.refused += self._tell_refused(feed, page)
            self._metrics.page_recorded(listed=len(page.records.executions), failed=len(failed), new=new)
            self._metrics.classified(progress.outcomes)
            progress.outcomes.clear()
            if not page.is_last:
                self._last_pages[feed] = max(number, self._last_pages.get(feed, 0)) if partial else number
            if progress.complete:
                return pages, counts
            moves_to = None
            number = max(1, self._last_pages.get(feed, 0)) if partial and number == 0 else number + 1
            page = await self._page(feed, number, largest=progress.largest)

    def _require_times(self, progress: Progress) -> None:
        """Raise PageUnreadable if nothing that was listed can be compared with where the feed begins.

        With start_from = "beginning" there is nothing to compare with. A feed of which some records have times is
        read: a failure without any time is forwarded, since it may be new.
        """
        if progress.has_no_times and self._settings.start_from != "beginning":
            raise PageUnreadable(NO_TIMES, hint=NO_TIMES_HINT)

    def _judge_listing(self, feed: Feed, progress: Progress, *, is_whole: bool) -> tuple[str, str] | None:
        """Remember whether the listing is in order. Only a scan to the end can clear a doubt."""
        doubt = self._doubts.get(feed) if not is_whole else None
        if progress.order.is_wrong:
            doubt = (WRONG_ORDER, WRONG_ORDER_HINT)
        elif progress.has_no_times:
            doubt = (NO_TIMES, WRONG_ORDER_HINT)
        if doubt is None:
            self._doubts.pop(feed, None)
            self._last_pages.pop(feed, None)
        else:
            self._doubts[feed] = doubt
        return doubt

    async def _entries(self, feed: Feed, failed: list[Execution], now: datetime) -> list[Entry]:
        """Only what is not known yet is worth decoding and redacting."""
        known = await self._ledger.known([execution.id for execution in failed])
        return await self._turns.shape([each for each in failed if each.id not in known], feed, now)

    async def _record(self, feed: Feed, entries: list[Entry], moves_to: Checkpoint | None) -> int:
        if not entries and moves_to is None:
            return 0
        new = await self._ledger.record(feed, entries, now=self._clock.now(), checkpoint=moves_to)
        if new:
            self._recorded()
        return new

    async def _page(self, feed: Feed, number: int, *, largest: int = 1) -> Page:
        """`largest` is how many records a page of this reading has held."""
        size = self._settings.page_size
        try:
            return await self._fetch(feed, number, size)
        except PageUndecodable as error:
            log.warning("page read record by record", feed=str(feed), page=number, why=error.message)
            # The API may hold fewer on a page than it is asked for, and pages 0 and 1 may be the same page: wherever
            # the page begins, it is not above this, and a record that is read twice is recorded once.
            return await self._one_by_one(feed, range(max(0, number - 1) * largest, (number + 1) * size))

    async def _one_by_one(self, feed: Feed, positions: range) -> Page:
        """Records, each asked for alone."""
        executions: list[Execution] = []
        refused: list[Refused] = []
        api_now, ends = None, False
        for position in positions:
            try:
                page = await self._fetch(feed, position, 1)
            except PageUndecodable as error:
                refused.append(Refused(error.message, error.digest))
                continue
            api_now = api_now or page.api_now
            if ends := page.records.empty:
                break
            executions += page.records.executions
            refused += page.records.refused
        return Page(Records(executions, refused), api_now, as_asked=False, ends=ends)

    async def _fetch(self, feed: Feed, number: int, limit: int) -> Page:
        """A transient error asks for the same page again: another page would be another place in the log."""
        backoff = Backoff(base=0.5, cap=10)
        for left in reversed(range(TRIES)):
            try:
                return await self._source.page(feed, number, limit)
            except SourceUnavailable as error:
                if left == 0 or error.retry_after > LONGEST_WAIT:
                    raise
                if not error.retry_after:  # else the client itself holds the next request
                    await self._clock.sleep(backoff.next())
        raise AssertionError("the last try returns or raises")

    def _is_deep_due(self, checkpoint: Checkpoint, now: datetime) -> bool:
        return checkpoint.deep_at is None or not timedelta() <= now - checkpoint.deep_at < self._settings.deep_interval

    def _tell_refused(self, feed: Feed, page: Page) -> int:
        for refused in page.records.refused:
            log.warning("record refused", feed=str(feed), why=refused.reason, digest=refused.digest)
        return len(page.records.refused)

    def _tell(self, feed: Feed, progress: Progress) -> None:
        for execution_id in progress.given_up:
            log.warning("open execution given up", feed=str(feed), execution_id=execution_id)
        for status in progress.unknown:
            if self._selection.is_new(status):
                log.warning("unknown status", feed=str(feed), status=status, then=self._settings.unknown_status)
