"""The counts of recorded executions and sent events in each minute of the last day, and of the events' lag.

They are only displayed, so they cost no commit: they are counted in memory, and saved with another write once their
minute is over. The counts of the last minute are lost if the process is killed.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from threading import Lock

from forwarder.ledger.models import Traffic
from forwarder.ledger.traffic import LAG_WINDOW, RETENTION, TrafficCounts, minute_of


class UnsavedTraffic:
    """The counts that are not in the file yet. The event loop adds to them, and the ledger's thread saves them."""

    def __init__(self) -> None:
        self._counts = TrafficCounts()
        self._saving: TrafficCounts | None = None
        self._saves_all = False
        self._lock = Lock()

    def count_recorded(self, executions: int, now: datetime) -> None:
        with self._lock:
            self._counts.count_recorded(executions, now)

    def count_sent(self, stops: Iterable[tuple[datetime, bool]], now: datetime) -> None:
        """Count events that were sent. For each, `stops` has the stop of its execution and whether it is a replay."""
        with self._lock:
            self._counts.count_sent(stops, now)

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
            self._counts.subtract(self._counts.until(minute_of(now - RETENTION)))

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
            counts = self._counts.until(minute_of(now) + 1)
        since, until = minute_of(now - RETENTION), minute_of(now)
        for minute, recorded, sent in db.execute(
            "SELECT minute, recorded, sent FROM minutes WHERE minute > ? AND minute <= ?", (since, until)
        ):
            counts.recorded[minute] += recorded
            counts.sent[minute] += sent
        for minute, step, sent in db.execute(
            "SELECT minute, step, sent FROM lags WHERE minute > ? AND minute <= ?", (minute_of(now - LAG_WINDOW), until)
        ):
            counts.lags[minute, step] += sent
        return counts.traffic(now)


def delete_old(db: sqlite3.Connection, now: datetime) -> None:
    """Delete the counts that are no longer displayed."""
    before = minute_of(now - RETENTION)
    db.execute("DELETE FROM minutes WHERE minute < ?", (before,))
    db.execute("DELETE FROM lags WHERE minute < ?", (before,))


def _insert(db: sqlite3.Connection, counts: TrafficCounts) -> None:
    db.executemany(
        """INSERT INTO minutes VALUES (?, ?, ?)
           ON CONFLICT (minute) DO UPDATE SET recorded = recorded + excluded.recorded, sent = sent + excluded.sent""",
        [(minute, counts.recorded[minute], counts.sent[minute]) for minute in counts.minutes],
    )
    db.executemany(
        "INSERT INTO lags VALUES (?, ?, ?) ON CONFLICT (minute, step) DO UPDATE SET sent = sent + excluded.sent",
        [(minute, step, count) for (minute, step), count in counts.lags.items()],
    )
