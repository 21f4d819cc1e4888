"""Letting go of what is old enough, a little at a time."""

from datetime import datetime, timedelta
from sqlite3 import Connection

import msgspec

from forwarder.ledger.sqlite import metadata, payloads
from forwarder.ledger.sqlite.codec import ceil_to_seconds, floor_to_hours, from_micros, to_micros
from forwarder.ledger.sqlite.connection import PURGED, SENT
from forwarder.ledger.sqlite.counters import add_to_counters
from forwarder.ledger.sqlite.payloads import PACK
from forwarder.ledger.sqlite.requeue import delete_entries

PAYLOADS_PER_STEP = 500
PACKS_PER_STEP = 25
"""Of more than one detail, for packing them anew is what takes long."""

_EXPIRED = """state = 1 AND settled_at < :before AND NOT coalesce(
    settlement_seq > (SELECT bus.value FROM json_each(:verified) AS bus WHERE bus.key = entries.bus), FALSE)"""
"""In SQL, what was sent so long ago, and is not in doubt."""
IDS_PER_STEP = 2000


def delete_old_payloads(db: Connection, now: datetime, payload_retention: timedelta) -> bool:
    """Let go of details sent longer ago than `payload_retention`; whether there may be more.

    All that are old enough of a pack go together: it is packed anew for what stays. Those of which it is in doubt
    whether their bus was there are kept: they may have to be sent again.
    """
    verified = msgspec.json.encode(metadata.verified_seq_by_bus(db)).decode()
    parameters: dict[str, int | str] = {"before": to_micros(now - payload_retention), "verified": verified}
    oldest = db.execute(
        f"SELECT entry, {PACK} FROM entries WHERE {_EXPIRED} ORDER BY settled_at LIMIT :limit",  # noqa: S608  # texts of ours
        parameters | {"limit": PAYLOADS_PER_STEP},
    ).fetchall()
    dropped = repacked = 0
    # An entry whose pack is gone goes by itself.
    for start, is_alone in dict.fromkeys((entry if pack is None else pack, pack is None) for entry, pack in oldest):
        if dropped >= PAYLOADS_PER_STEP or repacked >= PACKS_PER_STEP:
            return True
        end = start + 1 if is_alone else payloads.next_first(db, start)
        expired = db.execute(
            f"SELECT entry, key FROM entries WHERE entry >= :start AND entry < :end AND {_EXPIRED}",  # noqa: S608  # as above
            parameters | {"start": start, "end": end},
        ).fetchall()
        delete_entries(db, expired, SENT)
        dropped, repacked = dropped + len(expired), repacked + (end - start > 1)
    return dropped > 0 and len(oldest) == PAYLOADS_PER_STEP


def forget_ids(db: Connection, now: datetime, id_retention: timedelta, after_key: int) -> int | None:
    """Forget the ids after a key that were recorded and stopped longer ago than `id_retention`.

    The floors rise in the same commit to the last stop forgotten: of every feed, and of those to come, for a copy of a
    workflow lists the same executions. Ids have no index by age, since years of them must stay small. A round examines
    all; the key to go on from is returned, or None at the end of the round.

    The machine's clock alone proves no age: one that is set years ahead for a minute would forget everything, and the
    floors would hide failures that are not listed yet. The newest watermark bounds it, which is a time of the API.
    """
    (newest_watermark,) = db.execute("SELECT max(watermark) FROM feeds").fetchone()
    if newest_watermark is not None:
        now = min(now, from_micros(newest_watermark))
    rows = db.execute(
        "SELECT key, entry, outcome, stopped, recorded FROM executions WHERE key > ? ORDER BY key LIMIT ?",
        (after_key, IDS_PER_STEP),
    ).fetchall()
    horizon = now - id_retention
    # The hour of recording is rounded down, so only an hour that is over by then is old.
    expired = [
        (key, outcome, stopped)
        for key, entry, outcome, stopped, recorded in rows
        if entry is None and stopped <= ceil_to_seconds(horizon) and recorded < floor_to_hours(horizon)
    ]
    if expired:
        floor = max(stopped for _, _, stopped in expired) * 1_000_000
        db.execute("UPDATE feeds SET floor = max(coalesce(floor, ?), ?)", (floor, floor))
        metadata.save_forgotten_floor(db, from_micros(floor))
        db.executemany("DELETE FROM executions WHERE key = ?", [(key,) for key, _, _ in expired])
        purged = sum(outcome == PURGED for _, outcome, _ in expired)
        add_to_counters(db, forgotten=len(expired), purged=-purged, sent=purged - len(expired))
    return rows[-1][0] if len(rows) == IDS_PER_STEP else None
