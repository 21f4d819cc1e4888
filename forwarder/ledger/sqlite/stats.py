"""Counts of each minute of the last day, booked with the rows they tell of: cheap to read, however many entries.

A lag is kept as the number of a step on a scale on which each is a tenth longer than the one before.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from math import log
from sqlite3 import Connection

import msgspec

from forwarder.ledger.models import Lag, MinuteCounts, Traffic
from forwarder.ledger.sqlite.codec import from_micros, to_micros

STATS_RETENTION = timedelta(days=1)
LAG_WINDOW = timedelta(hours=1)

MICROS_PER_MINUTE = 60_000_000

MIN_LAG_MICROS = 1000
"""Microseconds, of step 0: nobody can tell lags apart that are shorter."""

STEP_RATIO = 1.1

_sent_rows = msgspec.json.Decoder(list[tuple[int, int]])


def count_recorded(db: Connection, count: int, now: datetime) -> None:
    if count:
        _add(db, _minute(now), recorded=count)


def count_sent(db: Connection, tokens: Sequence[int], settlement_seq: int, now: datetime) -> None:
    """Those of the entries that this settle has made sent, and not an earlier one."""
    # As one row: beside a thread that computes, each row is a wait for a turn.
    (encoded,) = db.execute(
        """SELECT json_group_array(json_array(time, replay)) FROM entries
           WHERE entry IN (SELECT value FROM json_each(?)) AND state = 1 AND settlement_seq = ?""",
        (msgspec.json.encode(tokens).decode(), settlement_seq),
    ).fetchone()
    rows = _sent_rows.decode(encoded)
    if not rows:
        return
    minute, at = _minute(now), to_micros(now)
    _add(db, minute, sent=len(rows))
    lags = Counter(_step(at - time) for time, replay in rows if not replay)
    db.executemany(
        "INSERT INTO lags VALUES (?, ?, ?) ON CONFLICT (minute, step) DO UPDATE SET sent = sent + excluded.sent",
        [(minute, step, count) for step, count in lags.items()],
    )


def traffic(db: Connection, now: datetime) -> Traffic:
    rows = db.execute(
        "SELECT minute, recorded, sent FROM minutes WHERE minute > ? AND minute <= ? ORDER BY minute",
        (_minute(now - STATS_RETENTION), _minute(now)),
    )
    minutes = [MinuteCounts(from_micros(minute * MICROS_PER_MINUTE), recorded, sent) for minute, recorded, sent in rows]
    return Traffic(minutes, _lag(db, now))


def delete_old(db: Connection, now: datetime) -> None:
    before = _minute(now - STATS_RETENTION)
    db.execute("DELETE FROM minutes WHERE minute < ?", (before,))
    db.execute("DELETE FROM lags WHERE minute < ?", (before,))


def _lag(db: Connection, now: datetime) -> Lag | None:
    rows = db.execute(
        "SELECT step, sum(sent) FROM lags WHERE minute > ? AND minute <= ? GROUP BY step ORDER BY step",
        (_minute(now - LAG_WINDOW), _minute(now)),
    ).fetchall()
    return Lag(_percentile(rows, 50), _percentile(rows, 95)) if rows else None


def _percentile(steps: Sequence[tuple[int, int]], percent: int) -> timedelta:
    """The lag that so many of a hundred do not exceed. `steps` are (step, count), shortest first."""
    total = sum(count for _, count in steps)
    cumulative = 0
    for step, count in steps:
        cumulative += count
        if 100 * cumulative >= percent * total:
            return timedelta(microseconds=MIN_LAG_MICROS * STEP_RATIO**step)
    raise ValueError("no percentile of nothing")


def _step(lag: int) -> int:
    """Of a lag in microseconds. A clock that is behind the API's would make it negative."""
    return round(log(max(lag, MIN_LAG_MICROS) / MIN_LAG_MICROS, STEP_RATIO))


def _minute(time: datetime) -> int:
    return to_micros(time) // MICROS_PER_MINUTE


def _add(db: Connection, minute: int, *, recorded: int = 0, sent: int = 0) -> None:
    db.execute(
        """INSERT INTO minutes VALUES (?, ?, ?)
           ON CONFLICT (minute) DO UPDATE SET recorded = recorded + excluded.recorded, sent = sent + excluded.sent""",
        (minute, recorded, sent),
    )
