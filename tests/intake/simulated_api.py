"""A model of a logs API that changes while it is polled: runs start, end and fail between two pages."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any

from forwarder.alloy.client import Page
from forwarder.alloy.decode import decode_page
from forwarder.demo.sample_data import FAILURES, Outcome, execution, is_failed_record
from forwarder.errors import PageUndecodable, PageUnreadable, SourceUnavailable
from forwarder.model import Feed
from forwarder.time_format import rfc3339
from tests.fakes.alloy_api import DocumentedAlloyApi
from tests.virtual_clock import QuickClock

WORKFLOW = "w-1"
POISON = {"executionId": "poison", "status": "success", "startedAt": "2026-11-02T11:59:00.000Z"}


class Crash(Exception):  # a simulated event, not an error
    """The process is killed here."""


@dataclass
class Traits:
    """The properties that the documentation leaves open, and the rate of faults.

    `max_page_records` is how many records a page holds, whatever the request says. `skew` is how far the API's clock is
    ahead of the local one.
    """

    sorted_by: str = "startedAt"
    first_pages_same: bool = False
    max_page_records: int = 30
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
class SimulatedApi:
    """A model of the API with the `fetch_page` of a logs client. `is_quiet` ends all change and every fault."""

    random: Random
    clock: QuickClock
    traits: Traits
    is_quiet: bool = False
    running: list[Run] = field(default_factory=list)
    stops: dict[str, datetime] = field(default_factory=dict)
    run_count: int = 0

    def __post_init__(self) -> None:
        self.api = DocumentedAlloyApi(api_key="key", now=self.api_now, sorted_by=self.traits.sorted_by)
        self.api.add_workflow(WORKFLOW)
        for _ in range(self.random.randint(0, min(40, 4 * self.traits.max_page_records))):
            self.arrive(ago=timedelta(minutes=self.random.randint(1, 20 * 60)))
        if self.traits.poisoned:
            self.api.add(WORKFLOW, POISON)

    def api_now(self) -> datetime:
        return self.clock.now() + self.traits.skew

    @property
    def failed(self) -> set[str]:
        """Return the ids of all failed executions."""
        return set(self.stops)

    def arrive(self, ago: timedelta = timedelta()) -> None:
        """List a run that started a little earlier, and that has ended or goes on."""
        self.run_count += 1
        now = self.api_now()
        started = now - ago - timedelta(seconds=self.random.randint(0, 240))
        run = Run(f"e-{self.run_count}", started, listed=self.traits.lists_running)
        if self.random.random() < 0.3:
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
            self._save_stop(record, stop)
        else:
            self._list(record, stop)

    def step(self) -> None:
        """Let some time pass, in which runs end and start."""
        self.clock.advance(0.01 + self.random.random() * 3)
        for run in list(self.running):
            # A run that is not listed while it runs must end within max_lateness.
            is_late = self.api_now() - run.started > timedelta(hours=20)
            if (is_late and not run.listed) or self.random.random() < 0.1:
                self.end(run)
        for _ in range(self.random.choice([0, 0, 0, 1, 1, 2, self.traits.max_page_records])):
            self.arrive()

    async def fetch_page(self, feed: Feed, number: int, limit: int) -> Page:
        if not self.is_quiet:
            self.step()
            self._maybe_fail()
        if self.traits.first_pages_same:
            number = max(0, number - 1)
        query = {"page": str(number), "limit": str(min(limit, self.traits.max_page_records)), "order": "desc"}
        response = self.api.respond(
            "GET", f"/2024-03/workflow/{feed.workflow_id}/logs", query, {"authorization": "bearer key"}
        )
        if b'"poison"' in response.body:
            raise PageUndecodable("malformed", digest="0")
        return Page(decode_page(response.body), parsedate_to_datetime(response.headers["Date"]))

    def _maybe_fail(self) -> None:
        if self.random.random() >= self.traits.fault_rate:
            return
        faults: list[Callable[[], Exception]] = [
            lambda: SourceUnavailable("down"),
            lambda: SourceUnavailable("wait", retry_after=300),
            lambda: PageUnreadable("no page"),
            Crash,
        ]
        fault = self.random.choice(faults)
        raise fault()

    def _ended(self, run: Run, stop: datetime) -> tuple[dict[str, Any], datetime]:
        stop = max(stop, run.started)
        outcome: Outcome = self.random.choice(["success", *FAILURES])
        return execution(outcome, id=run.id, started=run.started, stopped=stop, payload={}), stop

    def _list(self, record: dict[str, Any], stop: datetime | None) -> None:
        self.api.add(WORKFLOW, record)
        self._save_stop(record, stop)

    def _save_stop(self, record: dict[str, Any], stop: datetime | None) -> None:
        if stop is not None and is_failed_record(record):
            self.stops[record["executionId"]] = datetime.fromisoformat(rfc3339(stop))
