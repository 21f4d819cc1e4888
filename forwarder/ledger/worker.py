"""One thread that owns the connection, and commits in groups.

A commit costs a write to the disk whatever is in it, so everything that waits when one ends goes into the next.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from forwarder.errors import LedgerError
from forwarder.ledger.schema import connect, translated

LARGEST_GROUP = 128

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    writes: bool
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    result: Any = None
    error: Exception | None = None

    def answer(self) -> None:
        if self.future.cancelled():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Worker:
    """Runs work on a ledger's connection. Work that raises changes nothing, and leaves its neighbours alone."""

    def __init__(self, file: Path, *, create: bool) -> None:
        self.file = file
        self._create = create
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Raises LedgerError."""
        connection = await asyncio.to_thread(connect, self.file, create=self._create)
        self._thread = threading.Thread(target=self._run, args=(connection,), name="ledger", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """What was asked for is done first."""
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def read(self, work: Work[T]) -> T:
        return await self._ask(work, writes=False)

    async def write(self, work: Work[T]) -> T:
        """Returns when it is on the disk. A caller that is cancelled meanwhile does not undo it."""
        return await self._ask(work, writes=True)

    async def _ask(self, work: Work[T], *, writes: bool) -> T:
        if self._thread is None:
            raise LedgerError(f"the ledger {self.file} is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(work, writes, future, loop))
        return await future

    def _run(self, connection: sqlite3.Connection) -> None:
        going = True
        while going:
            group, going = self._next_group()
            if group:
                self._do(connection, group)
                group[0].loop.call_soon_threadsafe(_answer_all, group)
        connection.close()

    def _next_group(self) -> tuple[list[_Job], bool]:
        first = self._jobs.get()
        if first is None:
            return [], False
        group = [first]
        while len(group) < LARGEST_GROUP:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job is None:
                return group, False
            group.append(job)
        return group, True

    def _do(self, connection: sqlite3.Connection, group: list[_Job]) -> None:
        error = self._commit(connection, group)
        if error is None:
            return
        if len(group) == 1:
            group[0].error = translated(error, self.file) if isinstance(error, sqlite3.Error) else error
            return
        for job in group:
            self._do(connection, [job])

    @staticmethod
    def _commit(connection: sqlite3.Connection, group: list[_Job]) -> Exception | None:
        try:
            connection.execute("BEGIN IMMEDIATE" if any(job.writes for job in group) else "BEGIN")
            for job in group:
                job.result = job.work(connection)
                if not connection.in_transaction:  # as SQLite rolls back by itself when its disk fails
                    return sqlite3.OperationalError("the transaction was rolled back")
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  # it is handed to whoever asked
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            except sqlite3.Error:  # SQLite has rolled back by itself
                return error
            return error
        return None


def _answer_all(group: list[_Job]) -> None:
    for job in group:
        job.answer()
