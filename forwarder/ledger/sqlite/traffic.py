"""The counts of recorded executions and sent events in each minute of the last day, and of the events' lag.

They are only displayed, so they cost no commit: they are counted in memory, and saved with another write once their
minute is over. The counts of the last minute are lost if the process is killed.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import log
from threading import Lock

from forwarder.ledger.models import Lag, MinuteCounts, Traffic
from forwarder.ledger.sqlite.codec import from_micros, to_micros

RETENTION = timedelta(days=1)
LAG_WINDOW = timedelta(hours=1)

MINUTE_MICROSECONDS = 60_000_000

MIN_LAG_MICROSECONDS = 1000
"""The lag of step 0. A shorter lag is counted in step 0."""

STEP_RATIO = 1.1
"""The ratio of the lags of two successive steps, which makes percentiles exact within 5 %."""


@dataclass(slots=True)
class _Counts:
    """The counts by minute since 1970, and the numbers of sent events by minute and step of their lag."""

    recorded: Counter[int] = field(default_factory=Counter)
    sent: Counter[int] = field(default_factory=Counter)
    lags: Counter[tuple[int, int]] = field(default_factory=Counter)

    def until(self, minute: int) -> "_Counts":
        """Return the counts of the minutes before this one."""
        return _Counts(
            Counter({each: count for each, count in self.recorded.items() if each < minute}),
            Counter({each: count for each, count in self.sent.items() if each < minute}),
            Counter({each: count for each, count in self.lags.items() if each[0] < minute}),
        )

    def subtract(self, other: "_Counts") -> None:
        self.recorded -= other.recorded
        self.sent -= other.sent
        self.lags -= other.lags

    @property
    def minutes(self) -> set[int]:
        return self.recorded.keys() | self.sent.keys()


class UnsavedTraffic:
    """The counts that are not in the file yet. The event loop adds to them, and the ledger's thread saves them."""

    def __init__(self) -> None:
        self._counts = _Counts()
        self._saving: _Counts | None = None
        self._saves_all = False
        self._lock = Lock()

    def count_recorded(self, executions: int, now: datetime) -> None:
        if executions:
            with self._lock:
                self._counts.recorded[_minute(now)] += executions

    def count_sent(self, stops: Iterable[tuple[datetime, bool]], now: datetime) -> None:
        """Count events that were sent. For each, `stops` has the stop of its execution and whether it is a replay."""
        minute, at = _minute(now), to_micros(now)
        with self._lock:
            for stop, is_replay in stops:
                self._counts.sent[minute] += 1
                if not is_replay:
                    self._counts.lags[minute, _step(at - to_micros(stop))] += 1

    @property
    def is_unsaved(self) -> bool:
        with self._lock:
            return bool(self._counts.minutes)

    def save_all_at_next_commit(self) -> None:
        """Save also the minute that is not over, before the ledger is closed."""
        self._saves_all = True

    def forget_old(self, now: datetime) -> None:
        """Drop the counts that are no longer displayed."""
        with self._lock:
            self._counts.subtract(self._counts.until(_minute(now - RETENTION)))

    def save(self, db: sqlite3.Connection) -> None:
        """Add the counts of the minutes that are over to the transaction.

        A damaged table of these counts must not stop the transaction.
        """
        with self._lock:
            latest = max(self._counts.minutes, default=0)
            counts = self._counts.until(latest + self._saves_all)
        self._saving = None
        if not counts.minutes:
            return
        self._saving = counts
        db.execute("SAVEPOINT traffic")
        try:
            _insert(db, counts)
        except sqlite3.Error:
            if db.in_transaction:  # otherwise SQLite has rolled back on its own
                db.execute("ROLLBACK TO traffic")
        with suppress(sqlite3.Error):
            db.execute("RELEASE traffic")

    def committed(self) -> None:
        """Forget the counts that `save` added to the transaction. If it was rolled back, the next one saves them."""
        if self._saving is not None:
            with self._lock:
                self._counts.subtract(self._saving)
            self._saving = None

    def merged_with(self, db: sqlite3.Connection, now: datetime) -> Traffic:
        """Return the counts of the last day and the lag of the last hour, saved or not."""
        with self._lock:
            unsaved = self._counts.until(_minute(now) + 1)
        recorded, sent = unsaved.recorded.copy(), unsaved.sent.copy()
        since = _minute(now - RETENTION)
        for minute, *counts in db.execute(
            "SELECT minute, recorded, sent FROM minutes WHERE minute > ? AND minute <= ?", (since, _minute(now))
        ):
            recorded[minute] += counts[0]
            sent[minute] += counts[1]
        minutes = [
            MinuteCounts(from_micros(minute * MINUTE_MICROSECONDS), recorded[minute], sent[minute])
            for minute in sorted(recorded.keys() | sent.keys())
            if minute > since
        ]
        return Traffic(minutes, _lag(db, unsaved, now))


def delete_old(db: sqlite3.Connection, now: datetime) -> None:
    """Delete the counts that are no longer displayed."""
    before = _minute(now - RETENTION)
    db.execute("DELETE FROM minutes WHERE minute < ?", (before,))
    db.execute("DELETE FROM lags WHERE minute < ?", (before,))


def _insert(db: sqlite3.Connection, counts: _Counts) -> None:
    db.executemany(
        """INSERT INTO minutes VALUES (?, ?, ?)
           ON CONFLICT (minute) DO UPDATE SET recorded = recorded + excluded.recorded, sent = sent + excluded.sent""",
        [(minute, counts.recorded[minute], counts.sent[minute]) for minute in counts.minutes],
    )
    db.executemany(
        "INSERT INTO lags VALUES (?, ?, ?) ON CONFLICT (minute, step) DO UPDATE SET sent = sent + excluded.sent",
        [(minute, step, count) for (minute, step), count in counts.lags.items()],
    )


def _lag(db: sqlite3.Connection, unsaved: _Counts, now: datetime) -> Lag | None:
    since = _minute(now - LAG_WINDOW)
    steps = Counter[int]()
    for (minute, step), count in unsaved.lags.items():
        if minute > since:
            steps[step] += count
    for step, count in db.execute(
        "SELECT step, sum(sent) FROM lags WHERE minute > ? AND minute <= ? GROUP BY step", (since, _minute(now))
    ):
        steps[step] += count
    rows = sorted(steps.items())
    return Lag(_percentile(rows, 50), _percentile(rows, 95)) if rows else None


def _percentile(steps: Sequence[tuple[int, int]], percent: int) -> timedelta:
    """Return the lag that this percentage of the events does not exceed. `steps` are (step, count), shortest first."""
    total = sum(count for _, count in steps)
    below = 0
    for step, count in steps:
        below += count
        if 100 * below >= percent * total:
            return timedelta(microseconds=MIN_LAG_MICROSECONDS * STEP_RATIO**step)
    raise ValueError("a percentile needs at least one event")


def _step(lag_microseconds: int) -> int:
    """Return the step that is nearest to a lag, which is negative if this clock is behind the API's."""
    return round(log(max(lag_microseconds, MIN_LAG_MICROSECONDS) / MIN_LAG_MICROSECONDS, STEP_RATIO))


def _minute(time: datetime) -> int:
    return to_micros(time) // MINUTE_MICROSECONDS
