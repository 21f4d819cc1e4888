"""The writing of another store's executions into an empty ledger.

Two members that never ran hold them. The first has left, and holds what is pending: the first forwarder adopts it. The
second counts as taken over, and holds all settled executions. Each write is the same whenever it is repeated, so an
interrupted copy continues.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from forwarder.errors import AuditDenied, LedgerDenied, LedgerError
from forwarder.ledger import attempts
from forwarder.ledger.codec import from_micros
from forwarder.ledger.compression import compress
from forwarder.ledger.dynamodb.counters import SCAN_HINT
from forwarder.ledger.dynamodb.dead_letter_items import DeadLetterItems
from forwarder.ledger.dynamodb.executions import (
    DEAD_STATE,
    PENDING_STATE,
    PURGED_STATE,
    SENT_STATE,
    Executions,
    Retention,
)
from forwarder.ledger.dynamodb.feed_items import encode_checkpoint_item
from forwarder.ledger.dynamodb.id_floor import raise_floor
from forwarder.ledger.dynamodb.import_items import CopyMarker, Holder, copy_markers, execution_item, journal_entry
from forwarder.ledger.dynamodb.journal_items import MAX_BODY_BYTES, JournalEntry, chunks, expiry, part_key
from forwarder.ledger.dynamodb.member import OwnedEntry
from forwarder.ledger.dynamodb.member_items import packed
from forwarder.ledger.dynamodb.schema import (
    FORMAT,
    LEDGER,
    MEMBERS,
    Place,
    digest,
    execution_key,
    feed_key,
    feed_text,
    journal,
    member_key,
    number_text,
)
from forwarder.ledger.dynamodb.table import Key, Table
from forwarder.ledger.dynamodb.values import Item, Value
from forwarder.ledger.models import Counters, Dead, FeedStatus
from forwarder.ledger.sqlite.export import ExportedEntry, ExportedId

NONCE = "copy"
"""The nonce of the journal items. A member's own nonces are hexadecimal."""

_STATES = {"pending": PENDING_STATE, "sent": SENT_STATE, "dead": DEAD_STATE}


class Importer:
    """An unfinished copy into a ledger. All methods raise LedgerError if the table cannot be used."""

    def __init__(self, table: Table, retention: Retention, now: datetime) -> None:
        self._table = table
        self._retention = retention
        self._now = now
        self._executions = Executions(table, retention)
        self._dead_letters = DeadLetterItems(table)
        self._pending = Holder("")
        self._settled = Holder("")

    async def begin(self, source: str) -> bool:
        """Begin or continue the copy of a source. Return False if it is complete.

        Raise LedgerError if the ledger is in use, or is a copy of another source or of another state of it, and
        AuditDenied if the keys may not count the items at the end.
        """
        await self._require_scan()
        item: Mapping[str, Any] = await self._table.get(LEDGER) or await self._begin_new(source)
        body = item.get("copying") or item.get("copied")
        if body is None:
            raise self._refused("is in use")
        marker = copy_markers.decode(body)
        if marker.source != source:
            raise self._refused("holds a copy of another ledger, or of an earlier state of this one")
        self._pending, self._settled = Holder(marker.pending), Holder(marker.settled)
        self._table.max_attempts = 40  # about 20 s: all settled payloads go to one partition, which throttles them
        return "copying" in item

    async def _require_scan(self) -> None:
        try:
            async for _ in self._table.scan():
                return
        except LedgerDenied as error:
            raise AuditDenied(error.message, hint=f"{SCAN_HINT}: the copy counts its items at the end") from None

    async def _begin_new(self, source: str) -> Mapping[str, Value]:
        if [each async for each in self._table.query(MEMBERS)]:
            raise self._refused("is in use")
        marker = msgspec.json.encode(CopyMarker(source, secrets.token_hex(6), secrets.token_hex(6)))
        item: dict[str, Value] = {"ledger_format": FORMAT, "copying": marker}
        if not await self._table.put(LEDGER, item, condition="attribute_not_exists(p)"):
            raise self._refused("is in use")
        return item

    def _refused(self, reason: str) -> LedgerError:
        return LedgerError(
            f"the table {self._table.location} {reason}", hint="copy into an empty table, or under another prefix"
        )

    async def add_feeds(self, feeds: Iterable[FeedStatus]) -> None:
        await _all(self._add_feed(each) for each in feeds)

    async def _add_feed(self, status: FeedStatus) -> None:
        item: dict[str, Value] = {
            "f": feed_text(status.feed),
            "ck": encode_checkpoint_item(status.feed, status.checkpoint),
            "v": 0,
            "wa": int(status.watched),
            "skipped_at": 0,
            "pr": b"" if status.last_poll is None else msgspec.json.encode(status.last_poll),
        }
        await self._table.put(feed_key(status.feed), item)

    async def add_entries(self, entries: Sequence[ExportedEntry], *, pending: bool) -> None:
        """Add entries, all of them pending or none. The batches must be the same, in the same order, at each call."""
        holder = self._pending if pending else self._settled
        journaled = {digest(each.execution_id): each for each in entries}
        existing = await self._executions.load(list(journaled))
        for chunk in chunks([journal_entry(each, self._now) for each in entries]):
            holder.number += 1
            for entry in chunk:
                holder.count_entry(journaled[entry.digest])
            if all(entry.digest in existing for entry in chunk):
                continue
            await self._store(holder, chunk)
            await _all(
                self._add_entry(journaled[entry.digest], entry, Place(holder.id, holder.number, index))
                for index, entry in enumerate(chunk)
            )

    async def _store(self, holder: Holder, chunk: Sequence[JournalEntry]) -> None:
        body, expires = compress(msgspec.msgpack.encode(chunk)), expiry(self._now, self._retention.payloads)
        item: dict[str, Value] = {"nonce": NONCE, "expires": expires, "body": body}
        if len(body) > MAX_BODY_BYTES:
            parts = [body[start : start + MAX_BODY_BYTES] for start in range(0, len(body), MAX_BODY_BYTES)]
            for index, part in enumerate(parts):
                await self._table.put(
                    part_key(holder.id, holder.number, NONCE, index), {"body": part, "expires": expires}
                )
            item = {"nonce": NONCE, "expires": expires, "parts": len(parts)}
        await self._table.put(Key(journal(holder.id), number_text(holder.number)), item)

    async def _add_entry(self, entry: ExportedEntry, journaled: JournalEntry, place: Place) -> None:
        item = execution_item(entry.feed, place, _STATES[entry.state], entry.time, entry.recorded_at) | {
            "n": entry.attempts,
            "un": entry.unclassified_attempts,
            "h": attempts.encode(entry.history),
            "sn": entry.send_number,
        }
        if entry.state == "pending":
            item["du"] = entry.due_at
        else:
            item |= {"ev": entry.result, "rs": entry.reason, "bs": entry.bus, "sa": entry.settled_at}
        if entry.state == "sent":
            item["expires"] = self._expiry(entry.time, entry.settled_at)
        elif entry.state == "dead":
            item["dl"] = await self._add_dead_letter(entry, journaled, place)
        await self._table.put(execution_key(journaled.digest), item, condition="attribute_not_exists(p)")

    async def _add_dead_letter(self, entry: ExportedEntry, journaled: JournalEntry, place: Place) -> str:
        owned = OwnedEntry(
            place,
            journaled,
            from_micros(entry.due_at),
            attempts=entry.attempts,
            history=entry.history,
            send_number=entry.send_number,
        )
        dead = Dead(owned.token, entry.result, entry.reason)
        return await self._dead_letters.put(owned, dead, entry.detail or b"null", from_micros(entry.settled_at))

    async def add_ids(self, ids: Sequence[ExportedId]) -> None:
        """Add executions of which only the digest is known."""
        existing = await self._executions.load([each.digest for each in ids])
        for each in ids:
            self._settled.count("purged" if each.is_purged else "sent")
        await _all(self._add_id(each) for each in ids if each.digest not in existing)

    async def _add_id(self, each: ExportedId) -> None:
        state = PURGED_STATE if each.is_purged else SENT_STATE
        settled_at = max(each.stopped, each.recorded_at)
        item = execution_item(each.feed, Place(self._settled.id, 0, 0), state, each.stopped, each.recorded_at) | {
            "ev": "",
            "rs": "",
            "bs": "",
            "sa": settled_at,
            "expires": self._expiry(each.stopped, settled_at),
        }
        await self._table.put(execution_key(each.digest), item, condition="attribute_not_exists(p)")

    def _expiry(self, stopped: int, settled_at: int) -> int:
        return self._retention.execution_expiry(from_micros(stopped), from_micros(settled_at))

    async def verify(self, feeds: int) -> Counters:
        """Count the copied items. Raise LedgerError if they are not those that were added."""
        states, stored_feeds = Counter[int](), 0
        async for key, item in self._table.scan("st"):
            stored_feeds += key.p.startswith("f#")
            if key.p.startswith("x#"):
                states[item["st"]] += 1
        totals = self._pending.totals + self._settled.totals
        counted = Counters(
            recorded=states.total(),
            pending=states[PENDING_STATE],
            sent=states[SENT_STATE],
            dead=states[DEAD_STATE],
            purged=states[PURGED_STATE],
        )
        expected = Counters(**{name: totals[name] for name in ("recorded", "pending", "sent", "dead", "purged")})
        if (counted, stored_feeds) != (expected, feeds):
            raise LedgerError(
                f"the copy differs: {counted} and {stored_feeds} feeds instead of {expected} and {feeds} feeds",
                hint="keep both and report this: it must not happen",
            )
        return counted

    async def finish(self, source: str, attributes: Item) -> None:
        """Add the two members, and open the ledger for forwarders. `attributes` are those of the ledger's item."""
        pending, settled = self._pending, self._settled
        # Pending entries lie above the mark: the heir counts them. All others lie below.
        await self._table.put(member_key(pending.id), pending.item(self._now, mk=1, bl=packed({})))
        item = settled.item(self._now, mk=settled.number + 1, bl=packed(settled.totals), gone=1)
        await self._table.put(member_key(settled.id), item)
        marker = msgspec.json.encode(CopyMarker(source, self._pending.id, self._settled.id))
        # The ids are older than the table, and expire by the retention of this copy.
        floor = raise_floor({**attributes, "created_at": 0}, self._retention.ids, self._now)
        values: dict[str, Any] = {**attributes, **floor, "copied": marker}
        changes = ", ".join(f"{name} = :{name}" for name in values)
        await self._table.update(LEDGER, f"SET {changes} REMOVE copying", **values)


async def _all(writes: Iterable[Awaitable[None]]) -> None:
    """Wait for all writes, and raise the first error after the last has ended: the table may then be closed."""
    for result in await asyncio.gather(*writes, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
