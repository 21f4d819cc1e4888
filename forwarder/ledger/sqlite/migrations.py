"""The tables of the ledger, and the steps that create or upgrade them."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import cache

from forwarder.ledger.models import EntryState

APPLICATION_ID = 0x46574C47
"""The ASCII bytes "FWLG" in the file's header, by which `file` and the forwarder recognize a ledger."""

PENDING, SENT, DEAD = 0, 1, 2
"""The states of an entry whose payload is stored."""

STATE_NAMES: Mapping[int, EntryState] = {PENDING: "pending", SENT: "sent", DEAD: "dead"}
PURGED = 2
"""With SENT, the outcomes of an execution whose payload is no longer stored."""

_FORMAT_1 = """
-- One row for each execution id that was recorded and not forgotten. key and fingerprint: 64 and 48 bits of its digest.
-- entry: its row in entries while the payload is stored, else NULL, and then outcome is SENT or PURGED.
-- stopped: seconds, rounded up; recorded: hours; both since 1970.
CREATE TABLE executions (
    key INTEGER PRIMARY KEY, fingerprint INTEGER NOT NULL, feed INTEGER NOT NULL,
    entry INTEGER, outcome INTEGER, stopped INTEGER NOT NULL, recorded INTEGER NOT NULL
);
-- Pending entries, recently sent ones and dead letters, in the order of recording. Times are microseconds since 1970.
-- settlement_seq: the number of the commit that settled the entry; clocks do not affect its order.
-- send_number: the number of deliberate sends, from 1; a replay is the next one, a retry or requeue is not.
-- bus: the bus that accepted the entry, to which it is sent again if that bus turns out to have been missing.
CREATE TABLE entries (
    entry INTEGER PRIMARY KEY AUTOINCREMENT, key INTEGER NOT NULL, execution_id TEXT NOT NULL,
    feed INTEGER NOT NULL, state INTEGER NOT NULL, time INTEGER NOT NULL, recorded_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL, settled_at INTEGER, settlement_seq INTEGER, bus TEXT,
    attempts INTEGER NOT NULL DEFAULT 0, unclassified_attempts INTEGER NOT NULL DEFAULT 0,
    send_number INTEGER NOT NULL DEFAULT 1, history BLOB, result TEXT, reason TEXT
);
CREATE INDEX entries_pending ON entries (due_at) WHERE state = 0;
CREATE INDEX entries_sent ON entries (settled_at) WHERE state = 1;
-- In the order of settlements, which clocks do not affect, for a reader that follows the events as they are sent.
CREATE INDEX entries_settled ON entries (settlement_seq) WHERE state = 1;
-- For pages of entries, newest first: of all, and of each feed and state, which are merged.
CREATE INDEX entries_recorded ON entries (recorded_at);
CREATE INDEX entries_feed ON entries (feed, state, recorded_at);
CREATE INDEX entries_dead ON entries (execution_id) WHERE state = 2;
-- Apart from entries, so that settling an entry does not write its payload again. The format is in payloads.py.
CREATE TABLE payloads (entry INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE feeds (
    feed INTEGER PRIMARY KEY, workflow_id TEXT NOT NULL, user_id TEXT NOT NULL,
    watermark INTEGER, floor INTEGER, local_floor INTEGER, full_scan_at INTEGER, open_executions BLOB,
    activity BLOB,  -- the counts from which the failure rate is estimated
    polled_at INTEGER, poll_error TEXT, poll_interval REAL, poll_reason TEXT, watched INTEGER NOT NULL DEFAULT 1,
    UNIQUE (workflow_id, user_id)
);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE metadata (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
-- Executions recorded and events sent in each minute (since 1970) of the last day.
CREATE TABLE minutes (minute INTEGER PRIMARY KEY, recorded INTEGER NOT NULL, sent INTEGER NOT NULL);
-- Events sent in a minute, by their delay; traffic.py defines a step.
CREATE TABLE lags (
    minute INTEGER NOT NULL, step INTEGER NOT NULL, sent INTEGER NOT NULL, PRIMARY KEY (minute, step)
) WITHOUT ROWID;
INSERT INTO counters VALUES
    ('recorded', 0), ('pending', 0), ('sent', 0), ('dead', 0), ('purged', 0), ('forgotten', 0);
"""

MIGRATIONS = (_FORMAT_1,)
"""The statements that upgrade a ledger by one format each, from an empty file on. Released statements never change."""

FORMAT = len(MIGRATIONS)

Layout = frozenset[tuple[str, str]]
"""The columns of all tables: pairs of a table's name and a column's name."""


def migrate(connection: sqlite3.Connection, to: int = FORMAT) -> None:
    """Run the migrations that the file has not seen yet, in the transaction that is open."""
    # The format is read in the transaction: another process may have migrated the file while this one waited.
    for migration in MIGRATIONS[format_of(connection) : to]:
        for statement in migration.split(";\n"):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {max(to, format_of(connection))}")


def format_of(connection: sqlite3.Connection) -> int:
    """Return the number of the file's format, or 0 if it has no tables yet."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def application_of(connection: sqlite3.Connection) -> int:
    """Return the id of the application that wrote the file, or 0 if none is stored."""
    return int(connection.execute("PRAGMA application_id").fetchone()[0])


def layout(connection: sqlite3.Connection) -> Layout:
    """Return the columns that the file has."""
    return frozenset(
        connection.execute(
            """SELECT tables.name, columns.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
               WHERE tables.type = 'table'"""
        )
    )


@cache
def layout_of(number: int) -> Layout:
    """Return the columns of a ledger of this format."""
    with closing(sqlite3.connect(":memory:")) as empty:
        migrate(empty, number)
        return layout(empty)
