"""Deliberate replay of events that were sent and whose payload is still stored."""

from collections.abc import Collection, Mapping
from datetime import datetime
from sqlite3 import Connection

import msgspec

from forwarder.ledger.codec import ceil_to_seconds, text_parameter, to_micros
from forwarder.ledger.models import ReplayCounts, TimeWindow
from forwarder.ledger.sqlite import counters
from forwarder.ledger.sqlite.history import WITH_ACCEPTED
from forwarder.ledger.sqlite.identities import find_ids
from forwarder.ledger.sqlite.migrations import SENT
from forwarder.ledger.sqlite.store import SqliteStore

_SENT_IN_WINDOW = "state = 1 AND time >= :start AND time < :end AND (:workflow IS NULL OR workflow_id = :workflow)"


class ReplayStore(SqliteStore):
    """The operations of a replay."""

    async def replay_counts(self, window: TimeWindow) -> ReplayCounts:
        def load(db: Connection) -> ReplayCounts:
            stored = db.execute(
                f"SELECT count(*) FROM entries JOIN feeds USING (feed) WHERE {_SENT_IN_WINDOW}",  # noqa: S608  # a constant
                _parameters(window),
            ).fetchone()[0]
            workflow = _parameters(window)["workflow"]
            # An execution whose payload is no longer stored has its stop in seconds only.
            start, end = ceil_to_seconds(window.start), ceil_to_seconds(window.end)
            expired = db.execute(
                """SELECT workflow_id, count(*) FROM executions JOIN feeds USING (feed)
                   WHERE entry IS NULL AND outcome = ? AND stopped >= ? AND stopped < ?
                         AND (? IS NULL OR workflow_id = ?)
                   GROUP BY workflow_id ORDER BY workflow_id""",
                (SENT, start, end, workflow, workflow),
            )
            return ReplayCounts(int(stored), dict(expired.fetchall()))

        return await self._writer.read(load)

    async def replay(self, window: TimeWindow, *, now: datetime) -> int:
        selected = f"SELECT entry FROM entries JOIN feeds USING (feed) WHERE {_SENT_IN_WINDOW}"  # noqa: S608  # a constant
        return await self._writer.write(lambda db: _make_pending(db, selected, _parameters(window), now))

    async def replay_executions(self, execution_ids: Collection[str], *, now: datetime) -> int:
        def update(db: Connection) -> int:
            keys = [row.key for row in find_ids(db, execution_ids).values() if row.is_known]
            selected = """SELECT entry FROM executions
                          WHERE key IN (SELECT value FROM json_each(:keys)) AND entry IS NOT NULL"""
            return _make_pending(db, selected, {"keys": msgspec.json.encode(keys).decode()}, now)

        return await self._writer.write(update)

    async def pending_replays(self) -> int:
        def count(db: Connection) -> int:
            return int(db.execute("SELECT count(*) FROM entries WHERE state = 0 AND send_number > 1").fetchone()[0])

        return await self._writer.read(count)


def _make_pending(
    db: Connection, selected: str, parameters: Mapping[str, int | str | bytes | None], now: datetime
) -> int:
    """Make the sent entries among the selected ones pending, with the next send number. Return how many."""
    changed = db.execute(
        f"""UPDATE entries SET state = 0, send_number = max(send_number, 1) + 1, due_at = :now, settled_at = NULL,
                               unclassified_attempts = 0, history = {WITH_ACCEPTED}
            WHERE state = 1 AND entry IN ({selected})""",  # noqa: S608  # constants
        {**parameters, "now": to_micros(now)},
    ).rowcount
    counters.add(db, sent=-changed, pending=changed)
    return changed


def _parameters(window: TimeWindow) -> Mapping[str, int | str | bytes | None]:
    workflow = None if window.workflow_id is None else text_parameter(window.workflow_id)
    return {"start": to_micros(window.start), "end": to_micros(window.end), "workflow": workflow}
