"""The items of dead letters. Each is written before its execution, and counts only if the execution refers to it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from forwarder.ledger.codec import from_micros, to_micros
from forwarder.ledger.compression import compress, decompress
from forwarder.ledger.dynamodb.journal_items import MAX_BODY_BYTES
from forwarder.ledger.dynamodb.member import OwnedEntry
from forwarder.ledger.dynamodb.schema import dead_letter_key, dead_partitions
from forwarder.ledger.dynamodb.table import Key, Table
from forwarder.ledger.models import Attempt, Dead, DeadLetter
from forwarder.model import Entry, Feed


class StoredDeadLetter(msgspec.Struct, frozen=True, array_like=True):
    """A dead letter as its item holds it."""

    digest: str
    execution_id: str
    workflow_id: str
    user_id: str
    time: int
    recorded_at: int
    died_at: int
    code: str
    reason: str
    attempt_count: int
    history: list[tuple[int, str]]
    send_number: int
    detail: bytes

    @property
    def dead_letter(self) -> DeadLetter:
        feed = Feed(self.workflow_id, self.user_id or None)
        return DeadLetter(
            Entry(self.execution_id, feed, from_micros(self.time), self.detail),
            code=self.code,
            reason=self.reason,
            recorded_at=from_micros(self.recorded_at),
            died_at=from_micros(self.died_at),
            attempt_count=self.attempt_count,
            attempts=[Attempt(from_micros(at), code) for at, code in self.history],
        )


_decoder = msgspec.msgpack.Decoder(StoredDeadLetter)


class DeadLetterItems:
    """The items of dead letters in a table. The name of an item is `PARTITION/SORT_KEY`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def put(self, owned: OwnedEntry, dead: Dead, detail: bytes, now: datetime) -> str:
        """Write a dead letter, and return the name of its item. A large one takes several items."""
        journaled = owned.journaled
        stored = StoredDeadLetter(
            journaled.digest, journaled.execution_id, journaled.workflow_id, journaled.user_id,
            journaled.time, journaled.recorded_at, to_micros(now), dead.code, dead.reason,
            owned.attempts, list(owned.history), owned.send_number, detail,
        )  # fmt: skip
        body = compress(msgspec.msgpack.encode(stored))
        key = dead_letter_key(journaled.digest, owned.place)
        parts = [body[start : start + MAX_BODY_BYTES] for start in range(0, len(body), MAX_BODY_BYTES)]
        for index, part in enumerate(parts[1:], start=1):
            await self._table.put(_part_key(key, index), {"body": part})
        await self._table.put(key, {"digest": journaled.digest, "body": parts[0], "parts": len(parts)})
        return f"{key.p}/{key.s}"

    async def load_all(self) -> list[tuple[str, StoredDeadLetter]]:
        """Return all stored dead letters with the names of their items, the oldest first.

        Some may be retried or purged already.
        """
        found = await asyncio.gather(*(self._load_partition(each) for each in dead_partitions()))
        return sorted((each for part in found for each in part), key=lambda each: each[1].died_at)

    async def load(self, names: Sequence[str]) -> list[tuple[str, StoredDeadLetter]]:
        """Return the dead letters with these names that exist."""
        keys = [_key(name) for name in names]
        items = await self._table.get_many(keys)
        return await self._decode_all([(key, items[key]) for key in keys if key in items])

    async def delete(self, name: str) -> None:
        key = _key(name)
        item = await self._table.get(key) or {}
        for index in range(1, item.get("parts", 1)):
            await self._table.delete(_part_key(key, index))
        await self._table.delete(key)

    async def _load_partition(self, partition: str) -> list[tuple[str, StoredDeadLetter]]:
        items = [item async for item in self._table.query(partition) if "digest" in item]
        return await self._decode_all([(Key(partition, item["s"]), item) for item in items])

    async def _decode_all(self, items: Sequence[tuple[Key, dict[str, Any]]]) -> list[tuple[str, StoredDeadLetter]]:
        wanted = [_part_key(key, index) for key, item in items for index in range(1, item.get("parts", 1))]
        parts = await self._table.get_many(wanted) if wanted else {}
        found = []
        for key, item in items:
            others = (parts.get(_part_key(key, index), {}) for index in range(1, item.get("parts", 1)))
            body = decompress(b"".join([item["body"], *(each.get("body", b"") for each in others)]))
            if body is not None:
                found.append((f"{key.p}/{key.s}", _decoder.decode(body)))
        return found


def _key(name: str) -> Key:
    partition, _, sort = name.partition("/")
    return Key(partition, sort)


def _part_key(key: Key, index: int) -> Key:
    return Key(key.p, f"{key.s}/{index}")
