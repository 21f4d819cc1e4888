"""The ledger in a SQLite file: the contract of `contract.py`, done by one worker thread."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from forwarder.ledger import books, details, minutes, notes, owing, recording, replaying, sweeping, taking, telling
from forwarder.ledger.joint import JointSettling
from forwarder.ledger.lock import RunningLock
from forwarder.ledger.nouns import (
    UNDECODABLE,
    Books,
    Dead,
    DeadLetter,
    FeedStatus,
    Held,
    Pulse,
    Reading,
    Replayable,
    Settlement,
    Traffic,
    Window,
)
from forwarder.ledger.worker import Worker
from forwarder.model import Checkpoint, Entry, Feed, Owed

# Below every key, since a key is a signed 64-bit number.
BEFORE_ALL_KEYS = -(2**63)

LONG_WORK = 200_000
"""Bytes of details that take a millisecond or two to pack, for which the loop is held rather than a thread asked."""

FORGET_EVERY = timedelta(hours=6)


class SqliteLedger:
    """Entered with `async with`, which opens the file and raises LedgerError."""

    def __init__(self, file: Path, *, create: bool = False, lock: RunningLock | None = None) -> None:
        self._worker = Worker(file, create=create, lock=lock)
        self._settling = JointSettling(self._worker)
        self._taken: set[int] = set()
        self._forgetting: int | None = BEFORE_ALL_KEYS
        self._forgot_at: datetime | None = None

    async def __aenter__(self) -> Self:
        await self._worker.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._worker.stop()

    async def checkpoint(self, feed: Feed) -> Checkpoint:
        return await self._worker.read(partial(recording.checkpoint, feed=feed))

    async def begin(self, new: Mapping[Feed, Checkpoint], *, discovered_at: datetime | None = None) -> None:
        await self._worker.write(partial(recording.begin_new, new=new, discovered_at=discovered_at))

    async def discovered_at(self) -> datetime | None:
        return await self._worker.read(notes.discovered_at)

    async def known(self, execution_ids: Collection[str]) -> set[str]:
        return (
            await self._worker.read(partial(recording.known, execution_ids=execution_ids)) if execution_ids else set()
        )

    async def record(
        self, feed: Feed, entries: Sequence[Entry], *, now: datetime, checkpoint: Checkpoint | None = None
    ) -> int:
        # Not by the worker: each pack is a wait for its turn to compute, and all others wait for the worker.
        bodies = [entry.detail for entry in entries]
        is_little = sum(map(len, bodies)) <= LONG_WORK
        packs = details.packed(bodies) if is_little else await asyncio.to_thread(details.packed, bodies)
        work = partial(recording.record, feed=feed, entries=entries, packs=packs, now=now, moved_to=checkpoint)
        return await self._worker.write(work)

    async def take(self, limit: int, *, now: datetime) -> list[Owed]:
        found = await self._worker.read(partial(taking.due, limit=limit, now=now, besides=frozenset(self._taken)))
        if not found.rows:
            return []
        due, broken = await asyncio.to_thread(taking.unpacked, found)
        if broken:
            # One row that cannot be read must not stand before all others for ever.
            reason = "its detail in the ledger cannot be read"
            await self.settle([Dead(token, UNDECODABLE, reason) for token in broken], now=now)
        self._taken.update(owed.token for owed in due)
        return due

    def release(self, tokens: Collection[int]) -> None:
        self._taken.difference_update(tokens)

    async def next_due(self) -> datetime | None:
        return await self._worker.read(partial(taking.next_due, besides=frozenset(self._taken)))

    async def settle(self, settlements: Sequence[Settlement], *, now: datetime, bus: str = "") -> int:
        number = await self._settling.settle(settlements, bus=bus, now=now)
        self.release([settlement.token for settlement in settlements])
        return number

    async def last_settle(self) -> int:
        return await self._worker.read(notes.last_settle)

    async def note_bus(self, name: str, settle: int) -> None:
        await self._worker.write(partial(notes.note_bus, name=name, settle=settle))

    async def buses_in_doubt(self) -> list[str]:
        return await self._worker.read(owing.buses_in_doubt)

    async def owe_again(self, bus: str, *, now: datetime) -> int:
        return await self._worker.write(partial(owing.owe_again, bus=bus, now=now))

    async def books(self) -> Books:
        return await self._worker.read(books.books)

    async def oldest_owed(self) -> datetime | None:
        return await self._worker.read(taking.oldest)

    async def audit(self) -> Books:
        return await self._worker.read(books.audit)

    async def find(self, execution_id: str) -> Feed | None:
        return await self._worker.read(partial(recording.find, execution_id=execution_id))

    async def dead_letters(self) -> list[DeadLetter]:
        return await self._worker.read(owing.dead_letters)

    async def dead_letter(self, execution_id: str) -> DeadLetter | None:
        found = await self._worker.read(partial(owing.dead_letters, execution_id=execution_id))
        return found[0] if found else None

    async def retry_dead(self, execution_ids: Collection[str] | None, *, now: datetime) -> int:
        return await self._worker.write(partial(owing.retry_dead, execution_ids=execution_ids, now=now))

    async def purge_dead(self, execution_ids: Collection[str] | None) -> int:
        return await self._worker.write(partial(owing.purge_dead, execution_ids=execution_ids))

    async def replayable(self, window: Window) -> Replayable:
        return await self._worker.read(partial(replaying.replayable, window=window))

    async def replay(self, window: Window, *, now: datetime) -> int:
        return await self._worker.write(partial(replaying.replay, window=window, now=now))

    async def replays_owed(self) -> int:
        return await self._worker.read(replaying.owed)

    async def latest(self, limit: int, *, dead: bool = False) -> list[Held]:
        return await self._worker.read(partial(telling.latest, limit=limit, dead=dead))

    async def held(self, execution_id: str) -> Held | None:
        return await self._worker.read(partial(telling.held, execution_id=execution_id))

    async def traffic(self, *, now: datetime) -> Traffic:
        return await self._worker.read(partial(minutes.traffic, now=now))

    async def sweep(self, *, now: datetime, remember: timedelta, keep_payload: timedelta) -> bool:
        more = await self._worker.write(partial(sweeping.drop_details, now=now, keep_payload=keep_payload))
        await self._worker.write(partial(minutes.drop_old, now=now))
        if self._forgetting is None and (self._forgot_at is None or now - self._forgot_at >= FORGET_EVERY):
            self._forgetting = BEFORE_ALL_KEYS
        if self._forgetting is not None:
            work = partial(sweeping.forget, now=now, remember=remember, after_key=self._forgetting)
            self._forgetting, self._forgot_at = await self._worker.write(work), now
        return more or self._forgetting is not None

    async def switch(self, *, enabled: bool, skip: bool, now: datetime) -> bool | None:
        return await self._worker.write(partial(recording.switch, enabled=enabled, skip=skip, now=now))

    async def switched(self) -> bool | None:
        return await self._worker.read(notes.enabled)

    async def feeds(self) -> list[FeedStatus]:
        return await self._worker.read(recording.feeds)

    async def note(self, pulse: Pulse, readings: Mapping[Feed, Reading]) -> None:
        await self._worker.write(partial(recording.note, pulse=pulse, readings=readings))

    async def pulse(self) -> Pulse | None:
        return await self._worker.read(notes.pulse)

    async def ask(self, *, now: datetime) -> None:
        await self._worker.write(partial(notes.note_asked, at=now))

    async def asked_at(self) -> datetime | None:
        return await self._worker.read(notes.asked_at)
