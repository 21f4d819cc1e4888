"""The feeds whose listing has a problem, so that its newest executions may be anywhere in it."""

from collections.abc import Collection
from typing import Any

from forwarder.intake.listing_order import WRONG_ORDER, WRONG_ORDER_HINT
from forwarder.intake.scan import Scan
from forwarder.model import Feed

NO_TIMES = "the executions that the logs API lists have no time that can be read"


class ListingProblems:
    """The listing problems that earlier scans found, and the pages that partial scans read because of them.

    A partial scan takes place between two full scans of a feed with a problem. It reads the first page and the last
    ones, and does not move the checkpoint.
    """

    def __init__(self) -> None:
        self._problems: dict[Feed, tuple[str, str]] = {}
        self._last_pages: dict[Feed, int] = {}
        """The last page with executions of each feed. In the wrong order, it may have the newest executions."""

    def __contains__(self, feed: Feed) -> bool:
        return feed in self._problems

    def update(self, feed: Feed, scan: Scan, *, is_partial: bool) -> tuple[str, str] | None:
        """Store the problem that a scan found. Return its reason and hint, or None if the listing has no problem.

        A partial scan cannot clear a stored problem.
        """
        problem = self._problems.get(feed) if is_partial else None
        if scan.order.is_wrong:
            problem = (WRONG_ORDER, WRONG_ORDER_HINT)
        elif scan.has_no_times:
            problem = (NO_TIMES, WRONG_ORDER_HINT)
        if problem is None:
            self._problems.pop(feed, None)
            self._last_pages.pop(feed, None)
        else:
            self._problems[feed] = problem
        return problem

    def record_page(self, feed: Feed, number: int, *, is_partial: bool) -> None:
        """Store that a page has executions."""
        self._last_pages[feed] = max(number, self._last_pages.get(feed, 0)) if is_partial else number

    def next_page(self, feed: Feed, number: int, *, is_partial: bool) -> int:
        """Return the number of the page to read after page `number`. A partial scan skips to the last known page."""
        return max(1, self._last_pages.get(feed, 0)) if is_partial and number == 0 else number + 1

    def forget_all_except(self, feeds: Collection[Feed]) -> None:
        """Remove what is stored of the other feeds, which were removed."""
        states: tuple[dict[Feed, Any], ...] = (self._problems, self._last_pages)
        for state in states:
            for feed in state.keys() - feeds:
                del state[feed]
