"""The thread that owns the connection and commits in groups.

A commit costs one write to the disk whatever it contains, so all jobs that wait when a commit ends share the next one.
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
from forwarder.ledger.sqlite.connection import connect, leave_checkpoints_to_others
from forwarder.ledger.sqlite.file_identity import FileIdentity
from forwarder.ledger.sqlite.lock import RunningLock, is_running, require_same_files
from forwarder.ledger.sqlite.traffic import UnsavedTraffic

log = structlog.get_logger("ledger")

MAX_GROUP = 128

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
    """A thread that works on the connection of a ledger. Work that raises changes nothing and affects no other work.

    Nothing is read or written while the paths name other files than the opened ones, because a commit would be lost.
    """

    def __init__(self, file: Path, traffic: UnsavedTraffic, *, create: bool, lock: RunningLock | None = None) -> None:
        """Prepare a writer. `lock` is held by this process, or None for a command beside a running forwarder."""
        self.file = file
        self._traffic = traffic
        self._create = create
        self._lock = lock
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Open the file and start the thread. Raise LedgerError if the file cannot be opened."""
        connection, identity = await asyncio.to_thread(self._open)
        self._thread = threading.Thread(target=self._run, args=(connection, identity), name="ledger", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Run the jobs that wait, and close the file."""
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def read(self, work: Work[T]) -> T:
        """Return the result of the work. Raise LedgerError if the file cannot be read."""
        return await self._submit(work, writes=False)

    async def write(self, work: Work[T]) -> T:
        """Return the result of the work after its commit. Cancelling the caller does not undo the work."""
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
            if self._lock is None and is_running(self.file):
                leave_checkpoints_to_others(connection)
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
                if lost := self._lost(identity):
                    for job in group:
                        job.error = type(lost)(lost.message, hint=lost.hint)
                else:
                    self._execute(connection, group)
                group[0].loop.call_soon_threadsafe(_resolve_all, group)
        self._close(connection, identity)

    def _lost(self, identity: FileIdentity) -> LedgerError | None:
        """Return why the files must not be read or written now, or None."""
        lost: LedgerError | None = None
        try:
            identity.check()
        except LedgerError as error:
            lost = error
        if self._lock is not None:
            try:
                self._lock.ensure_held()  # also without a ledger: no other process may create a new one meanwhile
            except LedgerError as error:
                return lost or error
            self._lock.save_problem(lost)
        return lost

    def _close(self, connection: sqlite3.Connection, identity: FileIdentity) -> None:
        """Close the connection. If this process has the lock, restore a removed ledger file first."""
        if not identity.is_safe_to_access():  # the system closes the files, with the process
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
        while len(group) < MAX_GROUP:
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

    def _commit(self, connection: sqlite3.Connection, group: list[_Job]) -> Exception | None:
        writes = any(job.writes for job in group)
        try:
            connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            for job in group:
                job.result = job.work(connection)
                if not connection.in_transaction:  # SQLite rolls back on its own if its disk fails
                    return sqlite3.OperationalError("the transaction was rolled back")
            if writes:
                self._traffic.save(connection)
            connection.execute("COMMIT")
            self._traffic.committed()
        except Exception as error:  # noqa: BLE001  # it is raised in the callers
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            except sqlite3.Error:  # SQLite has rolled back on its own
                return error
            return error
        return None


def _resolve_all(group: list[_Job]) -> None:
    for job in group:
        job.resolve()
