"""The pages of the stored entries, newest first, and the activity after a position."""

import re
from collections.abc import Iterable, Iterator, Mapping
from heapq import merge
from itertools import islice
from sqlite3 import Connection
from typing import Final

from forwarder.ledger.codec import text_parameter, to_micros
from forwarder.ledger.models import Activity, EntryFilter, EntryPage, EntryState
from forwarder.ledger.sqlite import metadata
from forwarder.ledger.sqlite.identities import find_id
from forwarder.ledger.sqlite.migrations import STATE_NAMES
from forwarder.ledger.sqlite.queries import load_entries
from forwarder.ledger.sqlite.store import SqliteStore

_STATES: Final[Mapping[EntryState, int]] = {name: state for state, name in STATE_NAMES.items()}

_NUMBER: Final = "(-?[0-9]{1,18})"
_PAGE_POSITION: Final = re.compile(f"{_NUMBER}_{_NUMBER}")
_ACTIVITY_POSITION: Final = re.compile(f"{_NUMBER}_{_NUMBER}_{_NUMBER}")

_FEEDS_OF_WORKFLOW: Final = "SELECT feed FROM feeds WHERE workflow_id = :workflow"

_FEEDS_OF_ENTRIES: Final = """
    WITH RECURSIVE found (feed) AS (
        SELECT min(feed) FROM entries
        UNION ALL
        SELECT (SELECT min(feed) FROM entries WHERE feed > found.feed) FROM found WHERE feed IS NOT NULL
    )
    SELECT feed FROM found WHERE feed IS NOT NULL
"""
"""The query for all feeds with entries. It jumps from feed to feed in the index and reads no other row."""

Position = tuple[int, ...]
Parameters = Mapping[str, int | str | bytes]


class PageStore(SqliteStore):
    """The operations that list entries."""

    async def entries(self, matching: EntryFilter, limit: int, *, before: str | None = None) -> EntryPage:
        position = None if before is None else _parse(_PAGE_POSITION, before)
        return await self._writer.read(lambda db: _page(db, matching, limit, position))

    async def activity(self, after: str | None, limit: int) -> Activity:
        position = (0, 0, 0) if after is None else _parse(_ACTIVITY_POSITION, after)
        return await self._writer.read(lambda db: _activity(db, position, limit))

    async def last_activity(self) -> str:
        return await self._writer.read(_last_position)


def _parse(pattern: re.Pattern[str], text: str) -> Position:
    if (match := pattern.fullmatch(text)) is None:
        raise ValueError("is not a position in this ledger")
    return tuple(map(int, match.groups()))


def _page(db: Connection, matching: EntryFilter, limit: int, position: Position | None) -> EntryPage:
    rows = list(islice(matching_rows(db, matching, position), limit + 1))
    found = load_entries(db, [entry for _, entry in rows[:limit]])
    return EntryPage(found, "{}_{}".format(*rows[limit - 1]) if len(rows) > limit else None)


def matching_rows(db: Connection, matching: EntryFilter, position: Position | None) -> Iterator[tuple[int, int]]:
    """Yield the time of recording and the number of each matching entry, newest first.

    Only the rows that are yielded are read, and one row for each feed and state.
    """
    conditions, parameters = _range(matching, position)
    if matching.execution_id is not None:
        yield from _row_of_id(db, matching, conditions, parameters)
    elif matching.state is None and matching.workflow_id is None:
        yield from _select(db, "INDEXED BY entries_recorded", conditions, parameters)
    else:
        feeds = _FEEDS_OF_ENTRIES if matching.workflow_id is None else _FEEDS_OF_WORKFLOW
        workflow = text_parameter(matching.workflow_id or "")
        states = [_STATES[matching.state]] if matching.state else list(_STATES.values())
        yield from merge(
            *(
                _select(
                    db,
                    "INDEXED BY entries_feed",
                    ["feed = :feed", "state = :state", *conditions],
                    {**parameters, "feed": feed, "state": state},
                )
                for (feed,) in db.execute(feeds, {"workflow": workflow}).fetchall()
                for state in states
            ),
            reverse=True,
        )


def _row_of_id(
    db: Connection, matching: EntryFilter, conditions: list[str], parameters: Parameters
) -> Iterable[tuple[int, int]]:
    key, _, is_known = find_id(db, matching.execution_id or "")
    if not is_known:
        return []
    conditions = ["entry = (SELECT entry FROM executions WHERE key = :key)", *conditions]
    parameters = {**parameters, "key": key}
    if matching.state is not None:
        conditions.append("state = :state")
        parameters["state"] = _STATES[matching.state]
    if matching.workflow_id is not None:
        conditions.append(f"feed IN ({_FEEDS_OF_WORKFLOW})")
        parameters["workflow"] = text_parameter(matching.workflow_id)
    return _select(db, "", conditions, parameters)


def _range(matching: EntryFilter, position: Position | None) -> tuple[list[str], Parameters]:
    conditions: list[str] = []
    parameters: dict[str, int] = {}
    if matching.recorded_from is not None:
        conditions.append("recorded_at >= :start")
        parameters["start"] = to_micros(matching.recorded_from)
    if matching.recorded_to is not None:
        conditions.append("recorded_at < :end")
        parameters["end"] = to_micros(matching.recorded_to)
    if position is not None:
        conditions.append("(recorded_at, entry) < (:last_recorded_at, :last_entry)")
        parameters["last_recorded_at"], parameters["last_entry"] = position
    return conditions, parameters


def _select(db: Connection, index: str, conditions: Iterable[str], parameters: Parameters) -> Iterable[tuple[int, int]]:
    query = f"""SELECT recorded_at, entry FROM entries {index} WHERE {" AND ".join(conditions) or "TRUE"}
                ORDER BY recorded_at DESC, entry DESC"""  # noqa: S608  # constants
    return db.execute(query, parameters)


def _last_position(db: Connection) -> str:
    # The sequence, not the highest row: a deleted entry's number is not used again.
    newest = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetchone()
    return f"{newest[0] if newest else 0}_{metadata.last_settlement_seq(db) + 1}_0"


def _activity(db: Connection, position: Position, limit: int) -> Activity:
    last_entry, seq, entry = position
    recorded = db.execute(
        "SELECT entry FROM entries WHERE entry > ? ORDER BY entry LIMIT ?", (last_entry, limit)
    ).fetchall()
    sent = db.execute(
        """SELECT entry, settlement_seq FROM entries INDEXED BY entries_settled
           WHERE state = 1 AND (settlement_seq, entry) > (?, ?) ORDER BY settlement_seq, entry LIMIT ?""",
        (seq, entry, limit),
    ).fetchall()
    if recorded:
        last_entry = recorded[-1][0]
    if sent:
        entry, seq = sent[-1]
    return Activity(
        load_entries(db, [row[0] for row in recorded]),
        load_entries(db, [row[0] for row in sent]),
        f"{last_entry}_{seq}_{entry}",
    )
