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

import structlog

from forwarder.errors import LedgerError
from forwarder.ledger.causes import translated
from forwarder.ledger.lock import RunningLock, require_files_in_use
from forwarder.ledger.presence import Presence
from forwarder.ledger.schema import connect

log = structlog.get_logger("ledger")

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
    """Runs work on a ledger's connection. Work that raises changes nothing, and leaves its neighbours alone.

    No work is done while the files are not those that were opened: what it committed would be lost. `lock` is held by
    this process, or None for a command beside a running forwarder.
    """

    def __init__(self, file: Path, *, create: bool, lock: RunningLock | None = None) -> None:
        self.file = file
        self._create = create
        self._lock = lock
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Raises LedgerError."""
        connection, presence = await asyncio.to_thread(self._open)
        self._thread = threading.Thread(target=self._run, args=(connection, presence), name="ledger", daemon=True)
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

    def _open(self) -> tuple[sqlite3.Connection, Presence]:
        if self._lock is None:
            require_files_in_use(self.file)
        connection = connect(self.file, create=self._create)
        try:
            presence = Presence(self.file, connection)
        except BaseException:
            connection.close()
            raise
        if self._lock is not None:
            self._lock.ledger_is_there(presence.inodes)
        return connection, presence

    def _run(self, connection: sqlite3.Connection, presence: Presence) -> None:
        going = True
        while going:
            group, going = self._next_group()
            if group:
                if lost := self._lost(presence):
                    for job in group:
                        job.error = type(lost)(lost.message, hint=lost.hint)
                else:
                    self._do(connection, group)
                group[0].loop.call_soon_threadsafe(_answer_all, group)
        self._close(connection, presence)

    def _lost(self, presence: Presence) -> LedgerError | None:
        """Return why nothing may be read or written now, or None."""
        lost: LedgerError | None = None
        try:
            presence.check()
        except LedgerError as error:
            lost = error
        if self._lock is not None:
            try:
                self._lock.keep()  # also without a ledger: nobody may begin a new one meanwhile
            except LedgerError as error:
                return lost or error
            self._lock.report(lost)
        return lost

    def _close(self, connection: sqlite3.Connection, presence: Presence) -> None:
        """Close the connection, after a ledger that was removed is written back to its path."""
        if not presence.may_touch():  # the system closes it, with the process
            return
        try:
            if self._lock is not None and presence.is_unlinked():
                presence.restore(connection)
                log.warning("removed ledger restored", file=str(self.file))
        except (OSError, sqlite3.Error) as error:
            log.error("removed ledger not restored", file=str(self.file), why=str(error))  # noqa: TRY400  # no traceback for a bad disk
        connection.close()
        presence.close()

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
