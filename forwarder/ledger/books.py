"""Counting what was recorded and what became of it."""

from sqlite3 import Connection

import msgspec

from forwarder.errors import LedgerError
from forwarder.ledger.causes import REPAIR
from forwarder.ledger.nouns import Books
from forwarder.ledger.schema import DEAD, OWED, PURGED, SENT


def count(db: Connection, **changes: int) -> None:
    """Book changes in the same transaction as the rows they tell of."""
    # In one statement: beside a thread that computes, each is a wait for a turn.
    db.execute(
        """UPDATE counters SET value = counters.value + changes.value
           FROM json_each(?) AS changes WHERE name = changes.key""",
        (msgspec.json.encode(changes).decode(),),
    )


def books(db: Connection) -> Books:
    return Books(**dict(db.execute("SELECT name, value FROM counters")))


def audit(db: Connection) -> Books:
    """Raises LedgerError where the rows say otherwise than the books, or the file is damaged."""
    problems = [row[0] for row in db.execute("PRAGMA quick_check(3)") if row[0] != "ok"]
    if problems:
        raise LedgerError(f"the ledger is damaged: {problems[0]}", hint=REPAIR)
    kept = books(db)
    held = dict(db.execute("SELECT state, count(*) FROM entries GROUP BY state"))
    ended = dict(db.execute("SELECT outcome, count(*) FROM executions WHERE entry IS NULL GROUP BY outcome"))
    counted = Books(
        recorded=kept.recorded,
        owed=held.get(OWED, 0),
        sent=held.get(SENT, 0) + ended.get(SENT, 0),
        dead=held.get(DEAD, 0),
        purged=ended.get(PURGED, 0),
        forgotten=kept.forgotten,
    )
    known = db.execute("SELECT count(*) FROM executions").fetchone()[0]
    if counted != kept or not kept.balanced or known != kept.recorded - kept.forgotten:
        raise LedgerError(
            f"the books do not balance: kept {kept}, counted {counted}, {known} ids known",
            hint="keep the ledger file and report this: it must not happen",
        )
    return kept
