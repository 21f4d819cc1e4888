"""What is due, for delivery to take."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from sqlite3 import SQLITE_ERROR, Connection, OperationalError
from typing import Any, NamedTuple

import msgspec

from forwarder.ledger import details
from forwarder.ledger.codec import instant, micros
from forwarder.ledger.details import PACK
from forwarder.ledger.nouns import LONGEST_POSTPONEMENT
from forwarder.model import Entry, Feed, Owed

MOST_BYTES = 32 * 1024 * 1024
"""Of details that are taken at once."""

_COLUMNS = "due_at, entry, execution_id, workflow_id, user_id, time, strikes, attempts, replay"


class Due(NamedTuple):
    """Rows of entries in the order in which they are due, with the columns that `due` asks for; and, by their number,
    the packs that hold their details.
    """

    rows: Sequence[Sequence[Any]]
    bodies: dict[int | None, bytes | None]


def due(db: Connection, limit: int, now: datetime, besides: Collection[int]) -> Due:
    """What is due, with details as they are kept, at most `limit`, as many as fit.

    What is due further ahead than anything is ever postponed was written before the clock was set back.
    """
    rows = _rows(db, (micros(now), micros(now + LONGEST_POSTPONEMENT), _array(besides), limit))
    bodies: dict[int | None, bytes | None] = {}
    size = 0
    for place, (*_, pack) in enumerate(rows):
        if pack not in bodies:
            if size > MOST_BYTES:
                return Due(rows[:place], bodies)
            bodies[pack] = body = details.body_of(db, pack)
            size += len(body or b"")
    return Due(rows, bodies)


def _rows(db: Connection, asked: tuple[int, int, str, int]) -> Sequence[Sequence[Any]]:
    due = f"""SELECT {_COLUMNS}, {PACK} AS pack FROM entries LEFT JOIN feeds USING (feed)
              WHERE state = 0 AND (due_at <= ? OR due_at > ?) AND entry NOT IN (SELECT value FROM json_each(?))
              ORDER BY due_at, entry LIMIT ?"""  # noqa: S608  # a text of ours
    try:
        # As one row: beside a thread that computes, each row is a wait for a turn.
        told = db.execute(f"SELECT json_group_array(json_array({_COLUMNS}, pack)) FROM ({due})", asked).fetchone()  # noqa: S608  # as above
        return sorted(msgspec.json.decode(told[0]))
    except OperationalError as error:
        # Any other is the disk's, and SQLite may have rolled all back.
        if getattr(error, "sqlite_errorcode", SQLITE_ERROR) != SQLITE_ERROR:
            raise
    except (msgspec.DecodeError, TypeError):
        pass
    # What stands in one row and can be none of ours must not hold up the others.
    return db.execute(due, asked).fetchall()


def unpacked(due: Due) -> tuple[list[Owed], list[int]]:
    """Entries, as many as fit, and the tokens of those whose detail cannot be read."""
    taken: list[Owed] = []
    broken: list[int] = []
    size = 0
    wanted = _by_pack(due.rows)
    found: dict[int, bytes | None] = {}
    for _, token, execution_id, workflow_id, user_id, time, strikes, attempts, replay, pack in due.rows:
        if token not in found:
            if taken and size > MOST_BYTES:
                break
            listed = details.unpacked(pack, due.bodies[pack])
            picked = {each: details.listed(listed, each - (pack or 0)) for each in wanted[pack]}
            found.update(picked)
            size += sum(len(detail or b"") for detail in picked.values())
        detail, at = found.pop(token), _instant(time)
        if detail is None or at is None:
            broken.append(token)
        else:
            entry = Entry(execution_id, Feed(workflow_id, user_id or None), at, detail)
            taken.append(Owed(token, entry, attempts=_count(attempts), strikes=_count(strikes), replay=bool(replay)))
    return taken, broken


def _by_pack(rows: Sequence[Sequence[Any]]) -> dict[int | None, list[int]]:
    """Tokens by the pack that holds their details: one may hold those of many, and is unpacked once."""
    packs: defaultdict[int | None, list[int]] = defaultdict(list)
    for _, token, *_, pack in rows:
        packs[pack].append(token)
    return packs


def _instant(micros_since_epoch: Any) -> datetime | None:
    try:
        return instant(micros_since_epoch)
    except (TypeError, ValueError, OverflowError):
        return None


def _count(value: Any) -> int:
    """Of what a damaged row says instead nothing can be made, and the entry goes out."""
    return value if isinstance(value, int) else 0


def next_due(db: Connection, besides: Collection[int]) -> datetime | None:
    row = db.execute(
        """SELECT due_at FROM entries WHERE state = 0 AND entry NOT IN (SELECT value FROM json_each(?))
           ORDER BY due_at LIMIT 1""",
        (_array(besides),),
    ).fetchone()
    return None if row is None else instant(row[0])


def oldest(db: Connection) -> datetime | None:
    row = db.execute("SELECT min(recorded_at) FROM entries WHERE state = 0").fetchone()
    return None if row[0] is None else instant(row[0])


def _array(tokens: Collection[int]) -> str:
    return msgspec.json.encode(tokens).decode()
