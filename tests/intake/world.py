"""A model of a logs API that lives while it is read: runs arrive, end and fail between one page and the next."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any

from forwarder.alloy.client import Page
from forwarder.alloy.dialect import decode_page
from forwarder.demo.executions import FAILURES, Outcome, execution, looks_failed, rfc3339
from forwarder.demo.logs_api import LogsApi
from forwarder.errors import PageUndecodable, PageUnreadable, SourceUnavailable
from forwarder.model import Feed
from tests.clocks import QuickClock

WORKFLOW = "w-1"
POISON = {"executionId": "poison", "status": "success", "startedAt": "2026-11-02T11:59:00.000Z"}


class Crash(Exception):  # an end, not an error
    """The process dies here."""


@dataclass
class Traits:
    """What the documentation leaves open, and what goes wrong.

    `most` is how many records a page holds, whatever was asked for. `skew` is how far the API's clock is ahead of ours.
    """

    sorted_by: str = "startedAt"
    first_pages_same: bool = False
    most: int = 30
    skew: timedelta = timedelta()
    lists_running: bool = True
    poisoned: bool = False
    fault_rate: float = 0.1


@dataclass
class Run:
    id: str
    started: datetime
    listed: bool


@dataclass
class World:
    """The `page` of a logs client. `calm` ends all change and every fault."""

    draw: Random
    clock: QuickClock
    traits: Traits
    calm: bool = False
    running: list[Run] = field(default_factory=list)
    stops: dict[str, datetime] = field(default_factory=dict)
    born: int = 0
    never: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.api = LogsApi(api_key="key", now=self.api_now, sorted_by=self.traits.sorted_by)
        self.api.add_workflow(WORKFLOW)
        for _ in range(self.draw.randint(0, min(40, 4 * self.traits.most))):
            self.arrive(ago=timedelta(minutes=self.draw.randint(1, 20 * 60)))
        if self.traits.poisoned:
            self.api.add(WORKFLOW, POISON)

    def api_now(self) -> datetime:
        return self.clock.now() + self.traits.skew

    @property
    def failed(self) -> set[str]:
        """Every execution that failed."""
        return set(self.stops)

    def arrive(self, ago: timedelta = timedelta()) -> None:
        """A run that began a little before it is listed; it ended at once, or goes on."""
        self.born += 1
        now = self.api_now()
        started = now - ago - timedelta(seconds=self.draw.randint(0, 240))
        run = Run(f"e-{self.born}", started, listed=self.traits.lists_running)
        if self.draw.random() < 0.3:
            self.running.append(run)
            if run.listed:
                self._list(execution("running", id=run.id, started=started, payload={}), None)
        else:
            self._list(*self._ended(run, now - ago))

    def end(self, run: Run) -> None:
        record, stop = self._ended(run, self.api_now())
        self.running.remove(run)
        if run.listed:
            self.api.update(run.id, **{"finished": None, **record})
            self._note(record, stop)
        else:
            self._list(record, stop)

    def live(self) -> None:
        """A moment: some runs end, some begin."""
        self.clock.advance(0.01 + self.draw.random() * 3)
        for run in list(self.running):
            # A run that is not listed while it runs must end within the late window.
            is_late = self.api_now() - run.started > timedelta(hours=20)
            if (is_late and not run.listed) or self.draw.random() < 0.1:
                self.end(run)
        for _ in range(self.draw.choice([0, 0, 0, 1, 1, 2, self.traits.most])):
            self.arrive()

    async def page(self, feed: Feed, number: int, limit: int) -> Page:
        if not self.calm:
            self.live()
            self._strike()
        if self.traits.first_pages_same:
            number = max(0, number - 1)
        query = {"page": str(number), "limit": str(min(limit, self.traits.most)), "order": "desc"}
        reply = self.api.answer(
            "GET", f"/2024-03/workflow/{feed.workflow_id}/logs", query, {"authorization": "bearer key"}
        )
        if b'"poison"' in reply.body:
            raise PageUndecodable("broken inside", digest="0")
        return Page(decode_page(reply.body), parsedate_to_datetime(reply.headers["Date"]))

    def _strike(self) -> None:
        if self.draw.random() >= self.traits.fault_rate:
            return
        faults: list[Callable[[], Exception]] = [
            lambda: SourceUnavailable("down"),
            lambda: SourceUnavailable("wait", retry_after=300),
            lambda: PageUnreadable("no page"),
            Crash,
        ]
        fault = self.draw.choice(faults)
        raise fault()

    def _ended(self, run: Run, stop: datetime) -> tuple[dict[str, Any], datetime]:
        stop = max(stop, run.started)
        outcome: Outcome = self.draw.choice(["success", *FAILURES])
        return execution(outcome, id=run.id, started=run.started, stopped=stop, payload={}), stop

    def _list(self, record: dict[str, Any], stop: datetime | None) -> None:
        self.api.add(WORKFLOW, record)
        self._note(record, stop)

    def _note(self, record: dict[str, Any], stop: datetime | None) -> None:
        if stop is not None and looks_failed(record):
            self.stops[record["executionId"]] = datetime.fromisoformat(rfc3339(stop))
