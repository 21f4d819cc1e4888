"""Letting go of what is old enough, a little at a time."""

from datetime import datetime, timedelta
from sqlite3 import Connection

import msgspec

from forwarder.ledger import details, notes
from forwarder.ledger.books import count
from forwarder.ledger.codec import hours_down, instant, micros, seconds_up
from forwarder.ledger.details import PACK
from forwarder.ledger.owing import drop
from forwarder.ledger.schema import PURGED, SENT

DETAILS_A_STEP = 500
PACKS_A_STEP = 25
"""Of more than one detail, for packing them anew is what takes long."""

_OLD = """state = 1 AND settled_at < :before AND NOT coalesce(
    settle > (SELECT bus_seen.value FROM json_each(:seen) AS bus_seen WHERE bus_seen.key = entries.bus), FALSE)"""
"""In SQL, what was sent so long ago, and is not in doubt."""
IDS_A_STEP = 2000


def drop_details(db: Connection, now: datetime, keep_payload: timedelta) -> bool:
    """Let go of details sent longer ago than `keep_payload`; whether there may be more.

    All that are old enough of a pack go together: it is packed anew for what stays. Those of which it is in doubt
    whether their bus was there are kept: they may have to be sent again.
    """
    seen = msgspec.json.encode(notes.buses_seen(db)).decode()
    asked: dict[str, int | str] = {"before": micros(now - keep_payload), "seen": seen}
    oldest = db.execute(
        f"SELECT entry, {PACK} FROM entries WHERE {_OLD} ORDER BY settled_at LIMIT :limit",  # noqa: S608  # texts of ours
        asked | {"limit": DETAILS_A_STEP},
    ).fetchall()
    dropped = repacked = 0
    # An entry whose pack is gone goes by itself.
    for start, is_alone in dict.fromkeys((entry if pack is None else pack, pack is None) for entry, pack in oldest):
        if dropped >= DETAILS_A_STEP or repacked >= PACKS_A_STEP:
            return True
        end = start + 1 if is_alone else details.after(db, start)
        old = db.execute(
            f"SELECT entry, key FROM entries WHERE entry >= :start AND entry < :end AND {_OLD}",  # noqa: S608  # as above
            asked | {"start": start, "end": end},
        ).fetchall()
        drop(db, old, SENT)
        dropped, repacked = dropped + len(old), repacked + (end - start > 1)
    return dropped > 0 and len(oldest) == DETAILS_A_STEP


def forget(db: Connection, now: datetime, remember: timedelta, after_key: int) -> int | None:
    """Forget the ids after a key that were recorded and stopped longer ago than `remember`.

    The floors rise in the same commit to the last stop forgotten: of every feed, and of those to come, for a copy of a
    workflow lists the same executions. Ids have no index by age, since years of them must stay small. A round examines
    all; the key to go on from is returned, or None at the end of the round.

    The machine's clock alone proves no age: one that is set years ahead for a minute would forget everything, and the
    floors would hide failures that are not listed yet. The newest watermark bounds it, which is a time of the API.
    """
    (newest,) = db.execute("SELECT max(watermark) FROM feeds").fetchone()
    if newest is not None:
        now = min(now, instant(newest))
    rows = db.execute(
        "SELECT key, entry, outcome, stopped, recorded FROM executions WHERE key > ? ORDER BY key LIMIT ?",
        (after_key, IDS_A_STEP),
    ).fetchall()
    horizon = now - remember
    # The hour of recording is rounded down, so only an hour that is over by then is old.
    old = [
        (key, outcome, stopped)
        for key, entry, outcome, stopped, recorded in rows
        if entry is None and stopped <= seconds_up(horizon) and recorded < hours_down(horizon)
    ]
    if old:
        floor = max(stopped for _, _, stopped in old) * 1_000_000
        db.execute("UPDATE feeds SET floor = max(coalesce(floor, ?), ?)", (floor, floor))
        notes.note_forgotten_floor(db, instant(floor))
        db.executemany("DELETE FROM executions WHERE key = ?", [(key,) for key, _, _ in old])
        purged = sum(outcome == PURGED for _, outcome, _ in old)
        count(db, forgotten=len(old), purged=-purged, sent=purged - len(old))
    return rows[-1][0] if len(rows) == IDS_A_STEP else None
