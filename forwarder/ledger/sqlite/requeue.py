"""The buses that accepted events, their verification, and the requeue of events that a missing bus accepted.

A bus that does not exist accepts events and drops them. An entry is unverified from its settlement until its bus is
verified to exist later.
"""

from datetime import datetime
from functools import partial
from sqlite3 import Connection

from forwarder.ledger.codec import to_micros
from forwarder.ledger.sqlite import counters, metadata
from forwarder.ledger.sqlite.history import WITH_ACCEPTED
from forwarder.ledger.sqlite.store import SqliteStore


class RequeueStore(SqliteStore):
    """The operations on verified and missing buses."""

    async def save_bus_verified(self, name: str, seq: int) -> None:
        await self._writer.write(partial(metadata.save_verified_seq, bus=name, seq=seq))

    async def unverified_buses(self) -> list[str]:
        def load(db: Connection) -> list[str]:
            # The latest first, which an index finds: entries that are unverified were sent last, as a rule.
            query = (
                "SELECT 1 FROM entries WHERE state = 1 AND settlement_seq > ? AND bus = ?"
                " ORDER BY settled_at DESC LIMIT 1"
            )
            last = metadata.last_settlement_seq(db)
            return [
                bus
                for bus, verified in metadata.verified_seqs(db).items()
                if verified < last and db.execute(query, (verified, bus)).fetchone()
            ]

        return await self._writer.read(load)

    async def requeue(self, bus: str, *, now: datetime) -> int:
        def update(db: Connection) -> int:
            verified = metadata.verified_seq(db, bus)
            if verified is None:
                return 0
            changed = db.execute(
                f"""UPDATE entries SET state = 0, due_at = ?, settled_at = NULL, history = {WITH_ACCEPTED}
                    WHERE state = 1 AND settlement_seq > ? AND bus = ?""",  # noqa: S608  # a constant
                (to_micros(now), verified, bus),
            ).rowcount
            counters.add(db, sent=-changed, pending=changed)
            return changed

        return await self._writer.write(update)
