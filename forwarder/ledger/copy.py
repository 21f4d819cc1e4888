"""The copy of a ledger from a file to a table. It can be interrupted and continued."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import msgspec

from forwarder.errors import LedgerError, UsageError
from forwarder.ledger.codec import to_micros
from forwarder.ledger.dynamodb.executions import Retention
from forwarder.ledger.dynamodb.importer import Importer
from forwarder.ledger.dynamodb.place import table_client
from forwarder.ledger.dynamodb.table import Connect, Table
from forwarder.ledger.dynamodb.values import Value
from forwarder.ledger.models import Counters
from forwarder.ledger.sqlite import SqliteLedger, export, metadata
from forwarder.ledger.sqlite.causes import translate_error
from forwarder.ledger.sqlite.connection import connect
from forwarder.ledger.sqlite.lock import RunningLock
from forwarder.settings import ConfigSource, LocalSettings
from forwarder.settings.validators.ledger_url import FILE_PREFIX, SCHEME, TableLocation

ShowProgress = Callable[[int, int], None]
"""Shows how many executions are copied, and how many there are."""


@dataclass(frozen=True, slots=True)
class LedgerCopy:
    """A copy from a file to a table."""

    source: Path
    location: TableLocation
    connect: Connect
    retention: Retention

    @classmethod
    def of(cls, config_source: ConfigSource, settings: LocalSettings, source: str, target: str) -> Self:
        """Return the copy between two URLs. Raise UsageError if they are not those of a file and a table."""
        if not source.removeprefix(FILE_PREFIX) or not source.startswith(FILE_PREFIX):
            raise UsageError("FROM is no ledger in a file", hint="name it as in ledger.url: sqlite:///forwarder.db")
        if not target.startswith(f"{SCHEME}:"):
            raise UsageError("TO is no table of DynamoDB", hint="name it as in ledger.url: dynamodb://TABLE?region=…")
        try:
            location = TableLocation.of(target)
        except ValueError as error:
            raise UsageError(f"TO {error}") from None
        file = config_source.path(source.removeprefix(FILE_PREFIX))
        retention = Retention(settings.ledger.id_retention, settings.ledger.payload_retention)
        return cls(file, location, table_client(config_source, settings, location), retention)

    async def run(self, show_progress: ShowProgress) -> Counters | None:
        """Make or continue the copy. Return what was copied and counted, or None if it was complete before.

        Raise LedgerLocked if a process runs on the source, and LedgerError if the source is damaged, if a bus is
        unverified, or if the table is in use or cannot be used.
        """
        with closing(connect(self.source, create=False)) as db, RunningLock(self.source) as lock:
            lock.save_created()  # a lock file that is new would look like that of a process that creates the ledger
            table = Table(self.location, self.connect)
            try:
                importer = Importer(table, self.retention, datetime.now(UTC))
                async with SqliteLedger(self.source) as ledger:
                    return await self._copy(db, ledger, importer, show_progress)
            except sqlite3.Error as error:
                raise translate_error(error, self.source) from None
            finally:
                await table.close()

    async def _copy(
        self, db: sqlite3.Connection, ledger: SqliteLedger, importer: Importer, show_progress: ShowProgress
    ) -> Counters | None:
        counters = await ledger.audit()
        if unverified := await ledger.unverified_buses():
            raise LedgerError(
                f"the bus {unverified[0]} was not verified since it accepted events",
                hint="run `forwarder run` until one minute after the last event, then stop it and copy again",
            )
        fingerprint = _fingerprint(db, counters)
        if not await importer.begin(fingerprint):
            return None
        feeds = await ledger.feeds()
        await importer.add_feeds(feeds)
        total, done = counters.recorded - counters.forgotten, 0
        for pending in (True, False):
            for entries in export.entries(db, pending=pending):
                await importer.add_entries(entries, pending=pending)
                show_progress(done := done + len(entries), total)
        for ids in export.ids(db):
            await importer.add_ids(ids)
            show_progress(done := done + len(ids), total)
        copied = await importer.verify(len(feeds))
        if copied != replace(counters, recorded=total, forgotten=0):
            raise LedgerError(f"the copy holds {copied}, and the ledger {counters}", hint="keep both and report this")
        await importer.finish(fingerprint, _ledger_item(db))
        return copied


def _fingerprint(db: sqlite3.Connection, counters: Counters) -> str:
    """Return a text that differs for another ledger, and for another state of the same ledger.

    It contains the number of entries, because the retention deletes payloads and changes no counter. The copy numbers
    its journal items by the batches of entries, so it cannot continue after that.
    """
    keys = db.execute("SELECT min(key), max(key) FROM executions").fetchone()
    last_entry = db.execute("SELECT max(seq) FROM sqlite_sequence").fetchone()
    entries = db.execute("SELECT count(*), min(entry), max(entry) FROM entries").fetchone()
    return f"{counters} {metadata.last_settlement_seq(db)} {keys} {last_entry} {entries}"


def _ledger_item(db: sqlite3.Connection) -> dict[str, Value]:
    """Return the attributes of the ledger's item: switch, floor, discovery, retention gap and verified buses."""
    enabled, floor, discovered = metadata.enabled(db), metadata.forgotten_floor(db), metadata.discovered_at(db)
    gap, buses = metadata.retention_gap(db), sorted(metadata.verified_seqs(db))
    found: dict[str, Value] = {}
    if enabled is not None:
        found["en"] = int(enabled)
    if floor is not None:
        found["id_floor"] = to_micros(floor)
    if discovered is not None:
        found["discovered_at"] = to_micros(discovered)
    if gap is not None:
        found["retention_gap"] = msgspec.json.encode(gap)
    if buses:
        found["verified_buses"] = list(buses)
    return found
