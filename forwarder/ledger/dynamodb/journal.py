"""The journal of a member. It appends one item after the other, before it changes an execution.

An item's number must be free. The heir of a member writes an item at the next number, the seal, and from then on the
member cannot append. Details larger than an item are stored in further items before it.
"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from forwarder.errors import LedgerUnavailable
from forwarder.ledger.compression import compress
from forwarder.ledger.dynamodb.journal_items import MAX_BODY_BYTES, MAX_PACK_BYTES, JournalEntry, chunks, part_key
from forwarder.ledger.dynamodb.journals import Journals
from forwarder.ledger.dynamodb.schema import Place, journal, number_text
from forwarder.ledger.dynamodb.table import Key, Table
from forwarder.ledger.dynamodb.values import Item
from forwarder.ledger.dynamodb.window import Window

SEAL: Item = {"nonce": "seal"}
"""The item after which a member cannot append. A member's own nonces are hexadecimal.

It never expires: a process may wake after months.
"""

_CLOSED: Item = {**SEAL, "closed": 1}
"""The seal that a member itself writes."""

MAX_BLOCKING_BYTES = 100_000
"""The size of a pack that is compressed on the event loop. Up to here, a thread would cost more time."""


class MembershipLost(LedgerUnavailable):
    """Another process has taken this member over, so it can write no more."""

    def __init__(self) -> None:
        super().__init__(
            "another forwarder took over this process, whose heartbeat stood still",
            hint="it joins again automatically; see whether this machine was paused or overloaded",
        )


@dataclass(slots=True)
class _Waiting:
    """The entries of one caller, which are appended together."""

    entries: Sequence[JournalEntry]
    size: int
    appended: asyncio.Future[list[Place]] = field(default_factory=asyncio.Future)

    @property
    def is_appended(self) -> bool:
        return self.appended.done() and not self.appended.cancelled() and self.appended.exception() is None


class Journal:
    """The journal of one member, to which only it appends."""

    def __init__(self, table: Table, journals: Journals, member: str, window: Window) -> None:
        self._table = table
        self._journals = journals
        self._member = member
        self._window = window
        self._number = 1
        """The number of the next item."""
        self._nonces: set[str] = set()
        """The nonces of the appends that may have this number."""
        self._waiting: list[_Waiting] = []
        self._appending: asyncio.Task[None] | None = None
        self.orphans: dict[Place, JournalEntry] = {}
        """Entries that were appended, but whose caller was cancelled or got an error."""
        self.is_sealed = False

    async def append(self, entries: Sequence[JournalEntry], expires: int) -> list[Place]:
        """Append entries, and return their places. They are open in the window.

        Raise MembershipLost if the journal is sealed. After LedgerUnavailable they may be in the journal nevertheless.
        """
        parts = [_Waiting(chunk, sum(len(each.detail) for each in chunk)) for chunk in chunks(entries)]
        self._waiting += parts
        if self._appending is None or self._appending.done():
            self._appending = asyncio.create_task(self._append_all(expires))
        try:
            results = await asyncio.gather(*(part.appended for part in parts), return_exceptions=True)
        except asyncio.CancelledError:
            self._keep_orphans(parts)
            raise
        for each in results:
            if isinstance(each, BaseException):
                self._keep_orphans(parts)
                raise each
        return [place for part in parts for place in part.appended.result()]

    async def close(self) -> bool:
        """Let nothing more be appended, also by requests in flight. Return False if an heir has sealed the journal."""
        self.is_sealed = True
        if self._appending is not None:
            await asyncio.wait([self._appending])
        key = Key(journal(self._member), number_text(self._number))
        if await self._table.put(key, _CLOSED, condition="attribute_not_exists(p)"):
            return True
        found = await self._table.get(key) or SEAL
        # An earlier call has closed it, or an append whose reply was lost has this number.
        return "closed" in found or found.get("nonce") in self._nonces

    def _keep_orphans(self, parts: Sequence[_Waiting]) -> None:
        for part in parts:
            if part.is_appended:
                self.orphans.update(zip(part.appended.result(), part.entries, strict=True))

    async def _append_all(self, expires: int) -> None:
        while self._waiting:
            group, size = [self._waiting.pop(0)], 0
            while self._waiting and size + group[-1].size + self._waiting[0].size <= MAX_PACK_BYTES:
                size += group[-1].size
                group.append(self._waiting.pop(0))
            try:
                entries = [entry for part in group for entry in part.entries]
                number = await self._append(entries, expires)
                self._journals.keep((self._member, number), entries)
            except Exception as error:  # noqa: BLE001  # each caller raises it
                for part in group:
                    if not part.appended.cancelled():
                        part.appended.set_exception(error)
                continue
            index = 0
            for part in group:
                indices = range(index, index + len(part.entries))
                places = [Place(self._member, number, each) for each in indices]
                if part.appended.cancelled():
                    self.orphans.update(zip(places, part.entries, strict=True))
                else:
                    part.appended.set_result(places)
                index = indices.stop

    async def _append(self, entries: list[JournalEntry], expires: int) -> int:
        """Append one item, and return its number."""
        if self.is_sealed:
            raise MembershipLost
        nonce = secrets.token_hex(8)
        self._nonces.add(nonce)
        pack = msgspec.msgpack.encode(entries)
        body = await asyncio.to_thread(compress, pack) if len(pack) > MAX_BLOCKING_BYTES else compress(pack)
        while True:
            number = self._number
            self._window.open(number, len(entries))
            item = {"nonce": nonce, "expires": expires, **await self._store_parts(number, nonce, body, expires)}
            key = Key(journal(self._member), number_text(number))
            is_written = await self._table.put(key, item, condition="attribute_not_exists(p)")
            found = item if is_written else await self._table.get(key)
            if found is None or found.get("nonce") not in self._nonces:
                self.is_sealed = True
                raise MembershipLost
            # A number is used again until it is known who has it. The next one would leave a gap.
            self._number += 1
            self._nonces = {nonce}
            if found["nonce"] == nonce:
                return number
            self._window.abandon(number)  # an earlier append, whose reply was lost: its callers gave up

    async def _store_parts(self, number: int, nonce: str, body: bytes, expires: int) -> dict[str, Any]:
        """Return the attributes that hold a body. A body that is too large is stored in further items first."""
        if len(body) <= MAX_BODY_BYTES:
            return {"body": body}
        parts = [body[start : start + MAX_BODY_BYTES] for start in range(0, len(body), MAX_BODY_BYTES)]
        for index, part in enumerate(parts):
            await self._table.put(part_key(self._member, number, nonce, index), {"body": part, "expires": expires})
        return {"parts": len(parts)}
