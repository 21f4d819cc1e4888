"""What is due, for delivery to take."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from sqlite3 import SQLITE_ERROR, Connection, OperationalError
from typing import Any, NamedTuple

import msgspec

from forwarder.ledger.models import MAX_POSTPONEMENT
from forwarder.ledger.sqlite import payloads
from forwarder.ledger.sqlite.codec import from_micros, to_micros
from forwarder.ledger.sqlite.payloads import PACK
from forwarder.model import ClaimedEntry, Entry, Feed

MAX_CLAIM_BYTES = 32 * 1024 * 1024
"""Of details that are taken at once."""

_COLUMNS = "due_at, entry, execution_id, workflow_id, user_id, time, unclassified_attempts, attempts, replay"


class DueRows(NamedTuple):
    """Rows of entries in the order in which they are due, with the columns that `select_due` reads; and,
    by their number, the packs that hold their details.
    """

    rows: Sequence[Sequence[Any]]
    bodies: dict[int | None, bytes | None]


def select_due(db: Connection, limit: int, now: datetime, excluded: Collection[int]) -> DueRows:
    """What is due, with details as they are kept, at most `limit`, as many as fit.

    What is due further ahead than anything is ever postponed was written before the clock was set back.
    """
    rows = _select_rows(db, (to_micros(now), to_micros(now + MAX_POSTPONEMENT), _array(excluded), limit))
    bodies: dict[int | None, bytes | None] = {}
    size = 0
    for index, (*_, pack) in enumerate(rows):
        if pack not in bodies:
            if size > MAX_CLAIM_BYTES:
                return DueRows(rows[:index], bodies)
            bodies[pack] = body = payloads.load_body(db, pack)
            size += len(body or b"")
    return DueRows(rows, bodies)


def _select_rows(db: Connection, parameters: tuple[int, int, str, int]) -> Sequence[Sequence[Any]]:
    query = f"""SELECT {_COLUMNS}, {PACK} AS pack FROM entries LEFT JOIN feeds USING (feed)
              WHERE state = 0 AND (due_at <= ? OR due_at > ?) AND entry NOT IN (SELECT value FROM json_each(?))
              ORDER BY due_at, entry LIMIT ?"""  # noqa: S608  # a text of ours
    try:
        # As one row: beside a thread that computes, each row is a wait for a turn.
        as_json = f"SELECT json_group_array(json_array({_COLUMNS}, pack)) FROM ({query})"  # noqa: S608  # as above
        encoded = db.execute(as_json, parameters).fetchone()
        return sorted(msgspec.json.decode(encoded[0]))
    except OperationalError as error:
        # Any other is the disk's, and SQLite may have rolled all back.
        if getattr(error, "sqlite_errorcode", SQLITE_ERROR) != SQLITE_ERROR:
            raise
    except (msgspec.DecodeError, TypeError):
        pass
    # What stands in one row and can be none of ours must not hold up the others.
    return db.execute(query, parameters).fetchall()


def decode_due(due: DueRows) -> tuple[list[ClaimedEntry], list[int]]:
    """Entries, as many as fit, and the tokens of those whose detail cannot be read."""
    claimed: list[ClaimedEntry] = []
    unreadable: list[int] = []
    size = 0
    tokens_by_pack = _group_by_pack(due.rows)
    payload_by_token: dict[int, bytes | None] = {}
    for _, token, execution_id, workflow_id, user_id, time, unclassified_attempts, attempts, replay, pack in due.rows:
        if token not in payload_by_token:
            if claimed and size > MAX_CLAIM_BYTES:
                break
            pack_details = payloads.unpack(pack, due.bodies[pack])
            payloads_by_token = {
                each: payloads.payload_at(pack_details, each - (pack or 0)) for each in tokens_by_pack[pack]
            }
            payload_by_token.update(payloads_by_token)
            size += sum(len(detail or b"") for detail in payloads_by_token.values())
        detail, at = payload_by_token.pop(token), _time_or_none(time)
        if detail is None or at is None:
            unreadable.append(token)
        else:
            entry = Entry(execution_id, Feed(workflow_id, user_id or None), at, detail)
            claimed.append(
                ClaimedEntry(
                    token,
                    entry,
                    attempts=_count_or_zero(attempts),
                    unclassified_attempts=_count_or_zero(unclassified_attempts),
                    replay=bool(replay),
                )
            )
    return claimed, unreadable


def _group_by_pack(rows: Sequence[Sequence[Any]]) -> dict[int | None, list[int]]:
    """Tokens by the pack that holds their details: one may hold those of many, and is unpacked once."""
    packs: defaultdict[int | None, list[int]] = defaultdict(list)
    for _, token, *_, pack in rows:
        packs[pack].append(token)
    return packs


def _time_or_none(epoch_micros: Any) -> datetime | None:
    try:
        return from_micros(epoch_micros)
    except (TypeError, ValueError, OverflowError):
        return None


def _count_or_zero(value: Any) -> int:
    """Of what a damaged row says instead nothing can be made, and the entry goes out."""
    return value if isinstance(value, int) else 0


def next_due(db: Connection, excluded: Collection[int]) -> datetime | None:
    row = db.execute(
        """SELECT due_at FROM entries WHERE state = 0 AND entry NOT IN (SELECT value FROM json_each(?))
           ORDER BY due_at LIMIT 1""",
        (_array(excluded),),
    ).fetchone()
    return None if row is None else from_micros(row[0])


def oldest_pending(db: Connection) -> datetime | None:
    row = db.execute("SELECT min(recorded_at) FROM entries WHERE state = 0").fetchone()
    return None if row[0] is None else from_micros(row[0])


def _array(tokens: Collection[int]) -> str:
    return msgspec.json.encode(tokens).decode()
