"""The counters of recorded executions and of their outcomes, and their comparison with the rows."""

from sqlite3 import Connection

import msgspec

from forwarder.errors import LedgerError
from forwarder.ledger.models import Counters
from forwarder.ledger.sqlite.causes import RECOVERY_HINT
from forwarder.ledger.sqlite.migrations import DEAD, PENDING, PURGED, SENT
from forwarder.ledger.sqlite.store import SqliteStore


def add(db: Connection, **changes: int) -> None:
    """Change counters in the transaction that changes the counted rows."""
    # One statement: the interpreter lock has to be acquired again after each, beside a thread that computes.
    db.execute(
        """UPDATE counters SET value = counters.value + changes.value
           FROM json_each(?) AS changes WHERE name = changes.key""",
        (msgspec.json.encode(changes).decode(),),
    )


def stored(db: Connection) -> Counters:
    """Return the stored counters."""
    return Counters(**dict(db.execute("SELECT name, value FROM counters")))


def counted(db: Connection, *, forgotten: int) -> Counters:
    """Return the counters that follow from the rows. `forgotten` is the number of ids without a row."""
    entries = dict(db.execute("SELECT state, count(*) FROM entries GROUP BY state"))
    ended = dict(db.execute("SELECT outcome, count(*) FROM executions WHERE entry IS NULL GROUP BY outcome"))
    counts = {
        "pending": entries.get(PENDING, 0),
        "sent": entries.get(SENT, 0) + ended.get(SENT, 0),
        "dead": entries.get(DEAD, 0),
        "purged": ended.get(PURGED, 0),
        "forgotten": forgotten,
    }
    return Counters(recorded=sum(counts.values()), **counts)


class CounterStore(SqliteStore):
    """The counters, and their audit."""

    async def counters(self) -> Counters:
        return await self._writer.read(stored)

    async def audit(self) -> Counters:
        def compare(db: Connection) -> Counters:
            problems = [row[0] for row in db.execute("PRAGMA quick_check(3)") if row[0] != "ok"]
            if problems:
                raise LedgerError(f"the ledger is damaged: {problems[0]}", hint=RECOVERY_HINT)
            kept = stored(db)
            rows = counted(db, forgotten=kept.forgotten)
            known = db.execute("SELECT count(*) FROM executions").fetchone()[0]
            if rows != kept or known != kept.recorded - kept.forgotten:
                raise LedgerError(
                    f"the counters do not balance: stored {kept}, counted {rows}, {known} ids known",
                    hint="keep the ledger file and report this: it must not happen",
                )
            return kept

        return await self._writer.read(compare)
