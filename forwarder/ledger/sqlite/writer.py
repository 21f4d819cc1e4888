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
from forwarder.ledger.sqlite.causes import translate_error
from forwarder.ledger.sqlite.connection import connect
from forwarder.ledger.sqlite.file_identity import FileIdentity
from forwarder.ledger.sqlite.lock import RunningLock, require_same_files

log = structlog.get_logger("ledger")

MAX_GROUP_JOBS = 128

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

    def resolve(self) -> None:
        if self.future.cancelled():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Writer:
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
        connection, identity = await asyncio.to_thread(self._open)
        self._thread = threading.Thread(target=self._run, args=(connection, identity), name="ledger", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """What was asked for is done first."""
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def read(self, work: Work[T]) -> T:
        return await self._submit(work, writes=False)

    async def write(self, work: Work[T]) -> T:
        """Returns when it is on the disk. A caller that is cancelled meanwhile does not undo it."""
        return await self._submit(work, writes=True)

    async def _submit(self, work: Work[T], *, writes: bool) -> T:
        if self._thread is None:
            raise LedgerError(f"the ledger {self.file} is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(work, writes, future, loop))
        return await future

    def _open(self) -> tuple[sqlite3.Connection, FileIdentity]:
        if self._lock is None:
            require_same_files(self.file)
        connection = connect(self.file, create=self._create)
        try:
            identity = FileIdentity(self.file, connection)
        except BaseException:
            connection.close()
            raise
        if self._lock is not None:
            self._lock.save_created(identity.inodes)
        return connection, identity

    def _run(self, connection: sqlite3.Connection, identity: FileIdentity) -> None:
        is_open = True
        while is_open:
            group, is_open = self._next_group()
            if group:
                if problem := self._check_files(identity):
                    for job in group:
                        job.error = type(problem)(problem.message, hint=problem.hint)
                else:
                    self._execute(connection, group)
                group[0].loop.call_soon_threadsafe(_resolve_all, group)
        self._close(connection, identity)

    def _check_files(self, identity: FileIdentity) -> LedgerError | None:
        """Return why nothing may be read or written now, or None."""
        problem: LedgerError | None = None
        try:
            identity.check()
        except LedgerError as error:
            problem = error
        if self._lock is not None:
            try:
                self._lock.ensure_held()  # also without a ledger: nobody may begin a new one meanwhile
            except LedgerError as error:
                return problem or error
            self._lock.save_problem(problem)
        return problem

    def _close(self, connection: sqlite3.Connection, identity: FileIdentity) -> None:
        """Close the connection, after a ledger that was removed is written back to its path."""
        if not identity.is_safe_to_access():  # the system closes it, with the process
            return
        try:
            if self._lock is not None and identity.is_unlinked():
                identity.restore(connection)
                log.warning("removed ledger restored", file=str(self.file))
        except (OSError, sqlite3.Error) as error:
            log.error("removed ledger not restored", file=str(self.file), reason=str(error))  # noqa: TRY400  # no traceback for a bad disk
        connection.close()
        identity.close()

    def _next_group(self) -> tuple[list[_Job], bool]:
        first = self._jobs.get()
        if first is None:
            return [], False
        group = [first]
        while len(group) < MAX_GROUP_JOBS:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job is None:
                return group, False
            group.append(job)
        return group, True

    def _execute(self, connection: sqlite3.Connection, group: list[_Job]) -> None:
        error = self._commit(connection, group)
        if error is None:
            return
        if len(group) == 1:
            group[0].error = translate_error(error, self.file) if isinstance(error, sqlite3.Error) else error
            return
        for job in group:
            self._execute(connection, [job])

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


def _resolve_all(group: list[_Job]) -> None:
    for job in group:
        job.resolve()
