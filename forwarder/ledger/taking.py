"""What is due, for delivery to take."""

from collections.abc import Collection
from datetime import datetime
from functools import lru_cache
from sqlite3 import Connection
from typing import Any, NamedTuple

import msgspec

from forwarder.ledger import details
from forwarder.ledger.codec import instant, micros
from forwarder.ledger.contract import LONGEST_POSTPONEMENT
from forwarder.ledger.details import PACK
from forwarder.model import Entry, Feed, Owed

MOST_BYTES = 32 * 1024 * 1024
"""Of details that are taken at once."""

MOST_PACKS = 64
"""That are held unpacked at once."""

_COLUMNS = "due_at, entry, execution_id, workflow_id, user_id, time, strikes, attempts, replay"


class Due(NamedTuple):
    """Rows of entries in the order in which they are due, with the columns that `due` asks for; and, by their number,
    the packs that hold their details.
    """

    rows: list[list[Any]]
    bodies: dict[int | None, bytes | None]


def due(db: Connection, limit: int, now: datetime, besides: Collection[int]) -> Due:
    """What is due, with details as they are kept, at most `limit`, as many as fit.

    What is due further ahead than anything is ever postponed was written before the clock was set back.
    """
    # As one row: beside a thread that computes, each row is a wait for a turn.
    (told,) = db.execute(
        f"""SELECT json_group_array(json_array({_COLUMNS}, pack))
            FROM (SELECT {_COLUMNS}, {PACK} AS pack FROM entries LEFT JOIN feeds USING (feed)
                  WHERE state = 0 AND (due_at <= ? OR due_at > ?) AND entry NOT IN (SELECT value FROM json_each(?))
                  ORDER BY due_at, entry LIMIT ?)""",  # noqa: S608  # a text of ours
        (micros(now), micros(now + LONGEST_POSTPONEMENT), _array(besides), limit),
    ).fetchone()
    found = Due(sorted(msgspec.json.decode(told)), {})
    size = 0
    for place, (*_, pack) in enumerate(found.rows):
        if pack not in found.bodies:
            if size > MOST_BYTES:
                return Due(found.rows[:place], found.bodies)
            found.bodies[pack] = body = details.body_of(db, pack)
            size += len(body or b"")
    return found


def unpacked(due: Due) -> tuple[list[Owed], list[int]]:
    """Entries, as many as fit, and the tokens of those whose detail cannot be read."""
    taken: list[Owed] = []
    broken: list[int] = []
    size = 0
    unpack = lru_cache(maxsize=MOST_PACKS)(details.unpacked)
    for _, token, execution_id, workflow_id, user_id, time, strikes, attempts, replay, pack in due.rows:
        detail = details.listed(unpack(due.bodies[pack]), token - (pack or 0))
        at = _instant(time)
        if detail is None or at is None:
            broken.append(token)
            continue
        entry = Entry(execution_id, Feed(workflow_id, user_id or None), at, detail)
        size += len(detail)
        if taken and size > MOST_BYTES:
            break
        taken.append(Owed(token, entry, attempts=attempts, strikes=strikes, replay=bool(replay)))
    return taken, broken


def _instant(micros_since_epoch: Any) -> datetime | None:
    try:
        return instant(micros_since_epoch)
    except (TypeError, OverflowError):
        return None


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
