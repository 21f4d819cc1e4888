"""The repair of inconsistent rows after a recovery. A duplicate event is preferred to a lost one."""

import sqlite3
from dataclasses import asdict
from typing import Any

import msgspec

from forwarder.ledger.codec import ceil_to_seconds, digest, floor_to_hours, from_micros
from forwarder.ledger.sqlite import counters, payloads
from forwarder.untrusted_json import decode_or_none

DETAILS_IN_MEMORY = 50
"""Details that are decompressed at once: each may have a megabyte."""


def reconcile(db: sqlite3.Connection) -> list[str]:
    """Repair rows that refer to lost rows, and set the counters to the numbers of rows.

    A lost id is restored from the entry, a lost feed from the detail. A sent entry without a payload stays recorded as
    sent. A pending entry or dead letter without a payload is deleted together with its id, so that a poll can record
    the execution again. Return the executionIds of these deleted entries.
    """
    missing = msgspec.json.encode(_without_payload(db)).decode()
    _keep_sent(db, missing)
    lost = "FROM entries WHERE entry IN (SELECT value FROM json_each(?))"
    rows = db.execute(f"SELECT execution_id {lost} ORDER BY entry", (missing,))  # a constant
    lost_payload_ids = [execution_id for (execution_id,) in rows]
    db.execute(f"DELETE {lost}", (missing,))  # a constant
    db.execute("DELETE FROM payloads WHERE entry NOT IN (SELECT entry FROM entries)")
    db.execute("DELETE FROM executions WHERE entry IS NOT NULL AND entry NOT IN (SELECT entry FROM entries)")
    _restore_ids_and_feeds(db)
    (forgotten,) = db.execute("SELECT value FROM counters WHERE name = 'forgotten'").fetchone()
    counted = asdict(counters.counted(db, forgotten=forgotten))
    db.executemany("INSERT OR REPLACE INTO counters VALUES (?, ?)", list(counted.items()))
    return lost_payload_ids


def _without_payload(db: sqlite3.Connection) -> list[int]:
    """Return the entries whose payload is lost or damaged."""
    _correct_payload_keys(db)
    entries = [entry for (entry,) in db.execute("SELECT entry FROM entries")]
    missing: list[int] = []
    for start in range(0, len(entries), DETAILS_IN_MEMORY):
        some = entries[start : start + DETAILS_IN_MEMORY]
        details = payloads.details_of(db, some)
        missing += [entry for entry in some if entry not in details]
    return missing


def _correct_payload_keys(db: sqlite3.Connection) -> None:
    """Change the key of a payload to the number in its row, unless another payload has that key."""
    for key in [key for (key,) in db.execute("SELECT entry FROM payloads")]:
        number = payloads.number_in(payloads.body_of(db, key))
        if number is not None and number != key:
            db.execute("UPDATE OR IGNORE payloads SET entry = ? WHERE entry = ?", (number, key))


def _keep_sent(db: sqlite3.Connection, missing: str) -> None:
    """Keep sent entries as sent, even without a payload."""
    sent = "SELECT entry FROM entries WHERE state = 1 AND entry IN (SELECT value FROM json_each(?))"
    db.execute(f"UPDATE executions SET entry = NULL, outcome = 1 WHERE entry IN ({sent})", (missing,))  # noqa: S608  # a constant
    db.execute(f"DELETE FROM entries WHERE entry IN ({sent})", (missing,))  # noqa: S608  # a constant


def _restore_ids_and_feeds(db: sqlite3.Connection) -> None:
    """Insert the missing id and the missing feed of each entry. The detail contains the feed."""
    rows = db.execute(
        """SELECT entry, key, execution_id, feed, time, recorded_at FROM entries
           WHERE key NOT IN (SELECT key FROM executions) OR feed NOT IN (SELECT feed FROM feeds)"""
    ).fetchall()
    for start in range(0, len(rows), DETAILS_IN_MEMORY):
        some = rows[start : start + DETAILS_IN_MEMORY]
        details = payloads.details_of(db, [row[0] for row in some])
        for entry, key, execution_id, feed, time, recorded_at in some:
            detail = _decoded(details[entry])
            db.execute(
                "INSERT OR IGNORE INTO feeds (feed, workflow_id, user_id) VALUES (?, ?, ?)",
                (feed, str(detail.get("workflowId", "")), str(detail.get("userId", ""))),
            )
            stopped, recorded = ceil_to_seconds(from_micros(time)), floor_to_hours(from_micros(recorded_at))
            db.execute(
                "INSERT OR IGNORE INTO executions VALUES (?, ?, ?, ?, NULL, ?, ?)",
                (key, digest(execution_id)[1], feed, entry, stopped, recorded),
            )


def _decoded(detail: bytes) -> dict[str, Any]:
    """Return the detail, or an empty one if it is damaged: the entry becomes a dead letter when it is claimed."""
    decoded = decode_or_none(detail)
    return decoded if isinstance(decoded, dict) else {}
