"""Sending again, on purpose, what was sent and is still held."""

from datetime import datetime
from sqlite3 import Connection

from forwarder.ledger.books import count
from forwarder.ledger.codec import micros, seconds_up
from forwarder.ledger.nouns import Replayable, Window
from forwarder.ledger.owing import WITH_THE_ACCEPTED
from forwarder.ledger.schema import SENT

_SENT_OF_WINDOW = "state = 1 AND time >= :start AND time < :end AND (:workflow IS NULL OR workflow_id = :workflow)"


def replayable(db: Connection, window: Window) -> Replayable:
    held = db.execute(
        f"SELECT count(*) FROM entries JOIN feeds USING (feed) WHERE {_SENT_OF_WINDOW}",  # noqa: S608  # ours
        _values(window),
    ).fetchone()[0]
    # Of what is not held, the seconds of its stop are all that is known.
    gone = db.execute(
        """SELECT workflow_id, count(*) FROM executions JOIN feeds USING (feed)
           WHERE entry IS NULL AND outcome = ? AND stopped >= ? AND stopped < ? AND (? IS NULL OR workflow_id = ?)
           GROUP BY workflow_id ORDER BY workflow_id""",
        (SENT, seconds_up(window.start), seconds_up(window.end), window.workflow_id, window.workflow_id),
    )
    return Replayable(int(held), dict(gone.fetchall()))


def replay(db: Connection, window: Window, now: datetime) -> int:
    changed = db.execute(
        f"""UPDATE entries SET state = 0, replay = 1, due_at = :now, settled_at = NULL, strikes = 0,
                               history = {WITH_THE_ACCEPTED}
            WHERE entry IN (SELECT entry FROM entries JOIN feeds USING (feed) WHERE {_SENT_OF_WINDOW})""",  # noqa: S608  # ours
        {**_values(window), "now": micros(now)},
    ).rowcount
    count(db, sent=-changed, owed=changed)
    return changed


def owed(db: Connection) -> int:
    return int(db.execute("SELECT count(*) FROM entries WHERE state = 0 AND replay = 1").fetchone()[0])


def _values(window: Window) -> dict[str, int | str | None]:
    return {"start": micros(window.start), "end": micros(window.end), "workflow": window.workflow_id}
