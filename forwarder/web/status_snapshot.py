"""A snapshot of the forwarder's state, which the status page shows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from forwarder.fleet_health import STATES_BY_SEVERITY, ComponentReport, by_severity, component_reports, saved_components
from forwarder.health import ComponentStatus, NextAttempt
from forwarder.ledger import ONE_PROCESS, Counters, EntryFilter, FeedStatus, Fleet, Lag, RetentionGap, StoredEntry
from forwarder.model import State
from forwarder.settings import Settings
from forwarder.web import plots
from forwarder.web.context import WebContext
from forwarder.web.formatting import number
from forwarder.web.plots import Plot

MAX_FEEDS = 50

MAX_ENTRIES = 15
"""The number of latest entries, and of dead letters, on the page. The command line lists all of them."""

MAX_LIST_AGE = timedelta(minutes=1)
"""The time for which the events on the page of a shared ledger are not read again if no counter changes.

Each reading costs requests to the table, and a page that is open takes a snapshot every second.
"""

COMPONENT_LABELS = {
    "source": "the logs API",
    "bus": "the event bus",
    "ledger": "the ledger",
    "settings": "the settings file",
    "retention": "the retention watch",
    "payloads": "the bucket of payloads",
}

HEADLINES = {
    State.UNCONFIGURED: "Settings are missing",
    State.PAUSED: "Switched off",
    State.STARTING: "Starting",
    State.HEALTHY: "All is well",
}
"""The headlines of the states that no single component causes."""

WORKING_STATES = (State.STARTING, State.PAUSED, State.HEALTHY)
"""The states in which dead letters are the most important problem."""


@dataclass(frozen=True, slots=True)
class StatusSnapshot:
    """The state of the forwarder at one moment.

    `components` are those of this process. The other processes on a shared ledger have saved theirs in `fleet`.
    `oldest_pending` is the time at which the oldest pending entry was recorded, or None if nothing is pending.
    `listed_at` is the time at which `latest` and `dead` were read.
    """

    at: datetime
    settings: Settings
    components: Mapping[str, ComponentStatus]
    counters: Counters
    oldest_pending: datetime | None
    lag: Lag | None
    last_hour: Plot
    last_day: Plot
    latest: Sequence[StoredEntry]
    dead: Sequence[StoredEntry]
    feeds: Sequence[FeedStatus]
    next_attempts: Mapping[str, NextAttempt]
    retention_gap: RetentionGap | None = None
    fleet: Fleet = ONE_PROCESS
    listed_at: datetime | None = None

    @classmethod
    def empty(cls, settings: Settings, now: datetime) -> Self:
        """Return the snapshot of a ledger that has never been read."""
        last_hour, last_day = plots.last_hour([], now), plots.last_day([], now)
        return cls(now, settings, {}, Counters(), None, None, last_hour, last_day, [], [], [], {})

    @classmethod
    async def take(cls, context: WebContext, now: datetime, before: Self | None = None) -> Self:
        """Read the ledger, and return its state. Raise LedgerError if it cannot be read. `before` is the last one."""
        ledger, settings, components = context.ledger, context.settings(), context.health.components
        polls = context.polls()  # those not saved in the ledger yet
        gap = await ledger.retention_gap()
        traffic = await ledger.traffic(now=now)
        counters, fleet = await ledger.counters(), await ledger.members()
        feeds = [
            FeedStatus(each.feed, each.checkpoint, polls.get(each.feed, each.last_poll))
            for each in await ledger.feeds()
            if each.watched
        ]
        if before is not None and before.has_same_events(fleet, counters, now):
            latest, dead, listed_at = before.latest, before.dead, before.listed_at
        else:
            latest = (await ledger.entries(EntryFilter(), MAX_ENTRIES)).entries
            dead = (await ledger.entries(EntryFilter("dead"), MAX_ENTRIES)).entries if counters.dead else []
            listed_at = now
        return cls(
            at=now,
            settings=settings,
            components=components,
            counters=counters,
            oldest_pending=await ledger.oldest_pending() if counters.pending else None,
            lag=traffic.lag,
            last_hour=plots.last_hour(traffic.minutes, now),
            last_day=plots.last_day(traffic.minutes, now),
            latest=latest,
            dead=dead,
            feeds=feeds,
            next_attempts=context.next_attempts(),
            retention_gap=gap if gap and gap.is_displayed(now) else None,
            fleet=fleet,
            listed_at=listed_at,
        )

    def has_same_events(self, fleet: Fleet, counters: Counters, now: datetime) -> bool:
        """Return whether the events of a shared ledger are still the same, as far as its counters show."""
        is_recent = self.listed_at is not None and now - self.listed_at < MAX_LIST_AGE
        return fleet.is_shared and is_recent and counters == self.counters

    @property
    def reports(self) -> Sequence[ComponentReport]:
        """Return the components of all processes on this ledger, the worst first."""
        if not self.fleet.is_shared:
            return by_severity(component_reports({"": self.components}))
        others = {
            each.name: saved_components(each.status) for each in self.fleet.members if each.id != self.fleet.own_id
        }
        return by_severity(component_reports({self.fleet.own_name: self.components, **others}))

    def next_attempt(self, report: ComponentReport) -> NextAttempt | None:
        """Return the next attempt after a problem of this process, or None if nothing waits for one."""
        is_own = not self.fleet.is_shared or self.fleet.own_name in report.members
        is_problem = report.status.state in (State.FAILED, State.DEGRADED)
        return self.next_attempts.get(report.name) if is_own and is_problem else None

    @property
    def feeds_by_urgency(self) -> Sequence[FeedStatus]:
        """Return the MAX_FEEDS feeds on the page: first failed ones, then others, each polled longest ago first."""
        return sorted(self.feeds, key=lambda each: each.sort_key)[:MAX_FEEDS]

    @property
    def state(self) -> State:
        """Return the worst state of any component. If forwarding is disabled, only FAILED is worse than PAUSED."""
        states = {report.status.state for report in self.reports}
        if not self.settings.enabled and not states & {State.FAILED, State.UNCONFIGURED}:
            return State.PAUSED
        return next((state for state in STATES_BY_SEVERITY if state in states), State.STARTING)

    @property
    def affected(self) -> Sequence[str]:
        """Return the components that are as bad as `state`, if `state` is FAILED or DEGRADED, else nothing."""
        if self.state not in (State.FAILED, State.DEGRADED):
            return []
        return list(dict.fromkeys(each.name for each in self.reports if each.status.state is self.state))

    @property
    def has_rejections(self) -> bool:
        """Return whether dead letters are the most important problem."""
        return bool(self.counters.dead) and self.state in WORKING_STATES

    @property
    def main_rejection(self) -> str:
        """Return a sentence with the most frequent code and reason of the latest dead letters."""
        reasons = Counter(f"{each.result}: {each.reason}" if each.reason else each.result for each in self.dead)
        if not reasons:
            return ""
        ((reason, _),) = reasons.most_common(1)
        name = "Reason" if len(reasons) == 1 and len(self.dead) >= self.counters.dead else "Most frequent reason"
        return f"{name}: {reason.removesuffix('.')}."

    @property
    def headline(self) -> str:
        """Return the heading of the page: the state of the forwarder, or the events that the bus rejected."""
        if self.has_rejections:
            count = self.counters.dead
            rejected = f"{number(count)} event{' was' if count == 1 else 's were'} rejected by the bus"
            return f"Switched off, and {rejected}" if self.state is State.PAUSED else rejected
        affected = " and ".join(COMPONENT_LABELS.get(name, name) for name in self.affected)
        affected = f"{affected[:1].upper()}{affected[1:]}"
        several = len(self.affected) > 1
        match self.state:
            case State.FAILED:
                return f"{affected} {'need' if several else 'needs'} attention"
            case State.DEGRADED:
                return f"{affected} {'work' if several else 'works'} with difficulty"
            case _:
                return HEADLINES[self.state]

    @property
    def summary(self) -> str:
        """Return the sentence below the heading: how many failures wait, or that all were sent."""
        bus, pending, dead = self.settings.destination.event_bus, self.counters.pending, self.counters.dead
        purged = self.counters.purged
        if self.state is State.UNCONFIGURED or not self.settings.enabled:
            return self._idle_summary
        if pending:
            return f"{_failures(pending)} to be sent to the bus {bus}. Nothing is lost meanwhile."
        if dead:
            letters = f"{number(dead)} dead letter{' needs' if dead == 1 else 's need'} attention"
            return f"{letters}; every other failure has been sent to the bus {bus}."
        if purged:
            return f"{number(purged)} dead letter{' was' if purged == 1 else 's were'} purged; all else has been sent."
        if self.counters.recorded:
            return f"Every failure that was found has been sent to the bus {bus}."
        return f"Failures will be sent to the bus {bus} as they are found."

    @property
    def _idle_summary(self) -> str:
        if self.state is State.UNCONFIGURED:
            return "Nothing is forwarded yet. Forwarding begins when the settings and the keys are complete."
        waiting = f" {_failures(self.counters.pending)} found before until it is on again."
        return f"Nothing is read and nothing is sent.{waiting if self.counters.pending else ''}"


def _failures(count: int) -> str:
    return f"{number(count)} {'failure waits' if count == 1 else 'failures wait'}"
