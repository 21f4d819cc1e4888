"""Counting what was recorded and what became of it."""

from sqlite3 import Connection

import msgspec

from forwarder.errors import LedgerError
from forwarder.ledger.models import Counters
from forwarder.ledger.sqlite.causes import RECOVERY_HINT
from forwarder.ledger.sqlite.connection import DEAD, PENDING, PURGED, SENT


def add_to_counters(db: Connection, **changes: int) -> None:
    """Book changes in the same transaction as the rows they tell of."""
    # In one statement: beside a thread that computes, each is a wait for a turn.
    db.execute(
        """UPDATE counters SET value = counters.value + changes.value
           FROM json_each(?) AS changes WHERE name = changes.key""",
        (msgspec.json.encode(changes).decode(),),
    )


def load_counters(db: Connection) -> Counters:
    return Counters(**dict(db.execute("SELECT name, value FROM counters")))


def audit(db: Connection) -> Counters:
    """Raises LedgerError where the rows say otherwise than the counters, or the file is damaged."""
    problems = [row[0] for row in db.execute("PRAGMA quick_check(3)") if row[0] != "ok"]
    if problems:
        raise LedgerError(f"the ledger is damaged: {problems[0]}", hint=RECOVERY_HINT)
    stored = load_counters(db)
    held_by_state = dict(db.execute("SELECT state, count(*) FROM entries GROUP BY state"))
    ended_by_outcome = dict(db.execute("SELECT outcome, count(*) FROM executions WHERE entry IS NULL GROUP BY outcome"))
    counted = Counters(
        recorded=stored.recorded,
        pending=held_by_state.get(PENDING, 0),
        sent=held_by_state.get(SENT, 0) + ended_by_outcome.get(SENT, 0),
        dead=held_by_state.get(DEAD, 0),
        purged=ended_by_outcome.get(PURGED, 0),
        forgotten=stored.forgotten,
    )
    id_count = db.execute("SELECT count(*) FROM executions").fetchone()[0]
    if counted != stored or not stored.is_balanced or id_count != stored.recorded - stored.forgotten:
        raise LedgerError(
            f"the counters do not balance: stored {stored}, counted {counted}, {id_count} ids known",
            hint="keep the ledger file and report this: it must not happen",
        )
    return stored
