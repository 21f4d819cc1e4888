"""Sending again, on purpose, what was sent and is still held."""

from datetime import datetime
from sqlite3 import Connection

from forwarder.ledger.models import ReplayCounts, TimeWindow
from forwarder.ledger.sqlite.codec import ceil_to_seconds, to_micros
from forwarder.ledger.sqlite.connection import SENT
from forwarder.ledger.sqlite.counters import add_to_counters
from forwarder.ledger.sqlite.requeue import HISTORY_WITH_ACCEPTED

_SENT_IN_WINDOW = "state = 1 AND time >= :start AND time < :end AND (:workflow IS NULL OR workflow_id = :workflow)"


def replay_counts(db: Connection, window: TimeWindow) -> ReplayCounts:
    available = db.execute(
        f"SELECT count(*) FROM entries JOIN feeds USING (feed) WHERE {_SENT_IN_WINDOW}",  # noqa: S608  # ours
        _parameters(window),
    ).fetchone()[0]
    # Of what is not held, the seconds of its stop are all that is known.
    expired = db.execute(
        """SELECT workflow_id, count(*) FROM executions JOIN feeds USING (feed)
           WHERE entry IS NULL AND outcome = ? AND stopped >= ? AND stopped < ? AND (? IS NULL OR workflow_id = ?)
           GROUP BY workflow_id ORDER BY workflow_id""",
        (SENT, ceil_to_seconds(window.start), ceil_to_seconds(window.end), window.workflow_id, window.workflow_id),
    )
    return ReplayCounts(int(available), dict(expired.fetchall()))


def replay(db: Connection, window: TimeWindow, now: datetime) -> int:
    requeued = db.execute(
        f"""UPDATE entries SET state = 0, replay = 1, due_at = :now, settled_at = NULL, unclassified_attempts = 0,
                               history = {HISTORY_WITH_ACCEPTED}
            WHERE entry IN (SELECT entry FROM entries JOIN feeds USING (feed) WHERE {_SENT_IN_WINDOW})""",  # noqa: S608  # ours
        {**_parameters(window), "now": to_micros(now)},
    ).rowcount
    add_to_counters(db, sent=-requeued, pending=requeued)
    return requeued


def pending_replays(db: Connection) -> int:
    return int(db.execute("SELECT count(*) FROM entries WHERE state = 0 AND replay = 1").fetchone()[0])


def _parameters(window: TimeWindow) -> dict[str, int | str | None]:
    return {"start": to_micros(window.start), "end": to_micros(window.end), "workflow": window.workflow_id}
