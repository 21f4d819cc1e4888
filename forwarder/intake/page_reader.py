"""The reader of single pages. It repeats a failed request, and reads a damaged page record by record."""

import structlog

from forwarder.alloy.client import LogsClient, Page
from forwarder.alloy.decode import Records, RejectedRecord
from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.errors import PageUndecodable, PageUnreadable, SourceUnavailable
from forwarder.model import Execution, Feed

log = structlog.get_logger("intake")

MAX_ATTEMPTS = 4
"""Requests for one page before the scan is aborted."""

MAX_WAIT_SECONDS = 120.0
"""If the API asks for a longer wait, the scan is aborted and starts again when the wait is over."""

CONFIRM_SECONDS = 2.0
"""The wait before a page that is reported as missing is requested again."""


class PageReader:
    """A reader of single pages. `page_size` is the number of records that it requests."""

    def __init__(self, source: LogsClient, page_size: int, clock: Clock) -> None:
        self._source = source
        self._page_size = page_size
        self._clock = clock

    async def read(self, feed: Feed, number: int, *, max_page_records: int = 1) -> Page:
        """Return the page with this number, counted from 0. `max_page_records` is the largest page of this scan.

        Raise SourceError if the page cannot be read. A record that cannot be decoded is among the rejected ones.
        """
        size = self._page_size
        try:
            return await self._request(feed, number, size)
        except PageUndecodable as error:
            log.warning(
                "page undecodable, fetching records one by one", feed=str(feed), page=number, reason=error.message
            )
            # The API may return fewer records than requested, and pages 0 and 1 may be the same page. The page does not
            # begin above this position, and a record that is read twice is recorded once.
            positions = range(max(0, number - 1) * max_page_records, (number + 1) * size)
            return await self._read_one_by_one(feed, positions, error)

    async def _read_one_by_one(self, feed: Feed, positions: range, undecodable: PageUndecodable) -> Page:
        """Return a page of records that were requested one by one, because the page itself was undecodable.

        Raise PageUnreadable if the API responds with more records than one, because others would be skipped.
        """
        executions: list[Execution] = []
        rejected: list[RejectedRecord] = []
        api_now, ends_listing = None, False
        for position in positions:
            try:
                page = await self._request(feed, position, 1)
            except PageUndecodable as error:
                # The same body again is the whole page, unless the page has a single record.
                if error.has_several_records and error.digest == undecodable.digest:
                    raise _limit_ignored(undecodable) from None
                rejected.append(RejectedRecord(error.message, error.digest))
                continue
            if len(page.records.executions) + len(page.records.rejected) > 1:
                raise _limit_ignored(undecodable)
            api_now = api_now or page.api_now
            if ends_listing := page.records.is_empty:
                break
            executions += page.records.executions
            rejected += page.records.rejected
        return Page(Records(executions, rejected), api_now, as_requested=False, ends_listing=ends_listing)

    async def _request(self, feed: Feed, number: int, size: int) -> Page:
        """Return a page. If it is reported as missing, which ends the listing, request it once more after a pause."""
        page = await self._request_with_retries(feed, number, size)
        if page.ends_listing:
            # A node that starts, or a router, may respond with 404 as well, and all pages below would be skipped. The
            # size of the page before proves nothing: the API may return fewer records than requested.
            await self._clock.sleep(CONFIRM_SECONDS)
            page = await self._request_with_retries(feed, number, size)
        return page

    async def _request_with_retries(self, feed: Feed, number: int, size: int) -> Page:
        """Return a page. After a transient error, request it again, because a later page would skip its records."""
        backoff = Backoff(base=0.5, cap=10)
        for attempts_left in reversed(range(MAX_ATTEMPTS)):
            try:
                return await self._source.fetch_page(feed, number, size)
            except SourceUnavailable as error:
                if attempts_left == 0 or error.retry_after > MAX_WAIT_SECONDS:
                    raise
                if not error.retry_after:  # otherwise the client delays the next request
                    await self._clock.sleep(backoff.next())
        raise AssertionError("the last try returns or raises")


def _limit_ignored(undecodable: PageUndecodable) -> PageUnreadable:
    return PageUnreadable(
        f"{undecodable.message}, and its records cannot be read one by one: the logs API ignores limit=1",
        hint="report the page to the operator of the logs API; if it is too large, raise [source] max_body_bytes",
    )
