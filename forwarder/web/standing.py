"""How everything stands at one moment: what the status page shows, read once for however many readers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forwarder.health import Part
from forwarder.ledger import Books, FeedStatus, Held, Lag
from forwarder.model import State
from forwarder.settings import Settings
from forwarder.web import plots
from forwarder.web.desk import Desk
from forwarder.web.plots import Plot
from forwarder.web.words import number

MOST_FEEDS = 50

LATEST = 15
"""Entries, and dead letters, that are shown; the command line tells all of them."""

NAMES = {"source": "the logs API", "bus": "the event bus", "ledger": "the ledger", "settings": "the settings file"}

WORST_FIRST = (State.FAILED, State.DEGRADED, State.STARTING, State.PAUSED, State.HEALTHY)


@dataclass(frozen=True, slots=True)
class Standing:
    """All that is shown. `oldest_owed` is when the oldest owed entry was recorded."""

    at: datetime
    settings: Settings
    parts: Mapping[str, Part]
    books: Books
    oldest_owed: datetime | None
    lag: Lag | None
    hour: Plot
    day: Plot
    latest: Sequence[Held]
    dead: Sequence[Held]
    feeds: Sequence[FeedStatus]

    @property
    def worst_feeds(self) -> Sequence[FeedStatus]:
        """Those that are shown: first those that could not be read, then those that were not read for long."""
        return sorted(self.feeds, key=_urgency)[:MOST_FEEDS]

    @property
    def state(self) -> State:
        """The worst state of any part."""
        states = {part.state for part in self.parts.values()}
        if not self.settings.enabled and State.FAILED not in states:
            return State.PAUSED
        return next((state for state in WORST_FIRST if state in states), State.STARTING)

    @property
    def troubled(self) -> Mapping[str, Part]:
        """The parts that are in that state, where it is one to look at."""
        if self.state not in (State.FAILED, State.DEGRADED):
            return {}
        return {name: part for name, part in self.parts.items() if part.state is self.state}

    @property
    def headline(self) -> str:
        troubled = " and ".join(NAMES.get(name, name) for name in self.troubled)
        troubled = f"{troubled[:1].upper()}{troubled[1:]}"
        several = len(self.troubled) > 1
        match self.state:
            case State.FAILED:
                return f"{troubled} {'need' if several else 'needs'} attention"
            case State.DEGRADED:
                return f"{troubled} {'work' if several else 'works'} with difficulty"
            case State.PAUSED:
                return "Switched off"
            case State.STARTING:
                return "Starting"
            case State.HEALTHY:
                return "All is well"

    @property
    def sentence(self) -> str:
        bus, owed, dead = self.settings.destination.event_bus, self.books.owed, self.books.dead
        purged = self.books.purged
        if not self.settings.enabled:
            kept = f" {_failures(owed)} found before until it is on again." if owed else ""
            return f"Nothing is read and nothing is sent.{kept}"
        if owed:
            return f"{_failures(owed)} to be sent to {bus}. Nothing is lost meanwhile."
        if dead:
            looks = f"{number(dead)} dead letter{' needs' if dead == 1 else 's need'} a look"
            return f"{looks}; every other failure has been sent to {bus}."
        if purged:
            return f"{number(purged)} dead letter{' was' if purged == 1 else 's were'} dropped; all else has been sent."
        if self.books.recorded:
            return f"Every failure that was found has been sent to {bus}."
        return f"Failures will be sent to {bus} as they are found."


def _urgency(feed: FeedStatus) -> tuple[bool, float]:
    reading = feed.reading
    return (not (reading and reading.error), reading.at.timestamp() if reading else 0.0)


def _failures(count: int) -> str:
    return f"{number(count)} {'failure waits' if count == 1 else 'failures wait'}"


def blank(settings: Settings, now: datetime) -> Standing:
    """Of a ledger that never told anything."""
    hour, day = plots.last_hour([], now), plots.last_day([], now)
    return Standing(now, settings, {}, Books(), None, None, hour, day, [], [], [])


async def look(desk: Desk, now: datetime) -> Standing:
    """Raises LedgerError."""
    ledger, settings, parts = desk.ledger, desk.settings(), desk.health.parts
    readings = desk.readings()  # those the ledger was not told of yet
    traffic = await ledger.traffic(now=now)
    books = await ledger.books()
    feeds = [
        FeedStatus(each.feed, each.checkpoint, readings.get(each.feed, each.reading)) for each in await ledger.feeds()
    ]
    return Standing(
        at=now,
        settings=settings,
        parts=parts,
        books=books,
        oldest_owed=await desk.oldest_owed.look(books.owed),
        lag=traffic.lag,
        hour=plots.last_hour(traffic.minutes, now),
        day=plots.last_day(traffic.minutes, now),
        latest=await ledger.latest(LATEST),
        dead=await ledger.latest(LATEST, dead=True) if books.dead else [],
        feeds=feeds,
    )
