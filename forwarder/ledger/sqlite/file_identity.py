"""The detection of ledger files that are removed, moved, replaced or truncated while a process uses them.

SQLite continues to work on an unlinked file: every commit succeeds, and is lost when the process ends. A check costs a
few system calls and writes nothing. It runs on the thread that owns the connection, between transactions, so it never
runs during a checkpoint of this process.
"""

import contextlib
import os
import sqlite3
import sys
from pathlib import Path

from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.ledger.sqlite.causes import hint_for

ENDINGS = {"": "the ledger", "-wal": "the ledger's write-ahead log", "-shm": "the ledger's shared memory"}
"""The files of a ledger: their endings, and their names in messages."""

HEADER_BYTES = 100
MAGIC = b"SQLite format 3\0"

WAL_HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
"""The sizes in the write-ahead log: https://sqlite.org/walformat.html, sections 2.1 and 2.2."""

SHM_HEADER_BYTES, LAST_FRAME, COPIED = 136, slice(16, 20), slice(96, 100)
"""The size of the shared memory's header, and the positions of two numbers in it, in the machine's byte order.

The numbers are the last frame of the log, and the last frame that a checkpoint has copied:
https://sqlite.org/walformat.html, section 2.3.
"""

MAX_SHORT_CHECKS = 2
"""The number of consecutive checks that may find a short file. Another process may be running a checkpoint."""


class FileIdentity:
    """The identity of the files that one connection has opened.

    An identity keeps a descriptor of each file until the connection is closed. Closing any descriptor of a file
    releases the locks of this process on the file (https://sqlite.org/howtocorrupt.html, section 2.2).
    """

    def __init__(self, file: Path, connection: sqlite3.Connection) -> None:
        """Open the files that the paths name now. Raise LedgerError if they cannot be opened."""
        self.file = file
        self._descriptors: dict[str, int] = {}
        self._change_counter = self._short_checks = 0
        # A read makes SQLite open the write-ahead log and the shared memory.
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        try:
            for ending in ENDINGS:
                with contextlib.suppress(FileNotFoundError):
                    self._descriptors[ending] = os.open(f"{file}{ending}", os.O_RDONLY | os.O_CLOEXEC)
            self._statuses = {ending: os.fstat(descriptor) for ending, descriptor in self._descriptors.items()}
        except OSError as error:
            self.close()
            raise _unavailable_error(file, error) from None

    @property
    def inodes(self) -> list[int]:
        return [status.st_ino for status in self._statuses.values()]

    def close(self) -> None:
        """Close the descriptors. The connection has to be closed before."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def check(self) -> None:
        """Raise LedgerError if a path no longer names the open file, or if the file has lost content."""
        try:
            self._check_identity()
            self._check_size()
            self._check_mount()
        except OSError as error:
            raise _unavailable_error(self.file, error) from None

    def is_safe_to_access(self) -> bool:
        """Return whether SQLite can use its shared memory. Access beyond the end of the file kills the process."""
        shared = self._descriptors.get("-shm")
        return shared is None or os.fstat(shared).st_size >= self._statuses["-shm"].st_size

    def is_unlinked(self) -> bool:
        """Return whether the database was removed and exists only while this process keeps it open."""
        descriptor = self._descriptors.get("")
        return descriptor is not None and not os.fstat(descriptor).st_nlink and not os.path.lexists(self.file)

    def restore(self, connection: sqlite3.Connection) -> None:
        """Write an unlinked ledger back to its path. Raise OSError or sqlite3.Error if this fails."""
        temporary = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        try:
            with contextlib.closing(sqlite3.connect(temporary)) as target:
                connection.backup(target)
            for ending in ("-wal", "-shm"):  # the copy contains the log, and SQLite would apply it a second time
                Path(f"{self.file}{ending}").unlink(missing_ok=True)
            os.link(temporary, self.file)  # unlike a rename, it replaces nothing
        finally:
            temporary.unlink()

    def _check_identity(self) -> None:
        for ending, opened in self._statuses.items():
            path = f"{self.file}{ending}"
            try:
                named = os.stat(path)  # noqa: PTH116  # before each transaction: a Path would cost as much again
            except (FileNotFoundError, NotADirectoryError):
                raise LedgerError(
                    f"{ENDINGS[ending]} {path} was removed or moved while it is in use",
                    hint=self._recovery_hint(ending),
                ) from None
            if (named.st_dev, named.st_ino) != (opened.st_dev, opened.st_ino):
                raise LedgerError(
                    f"{ENDINGS[ending]} {path} was replaced while it is in use", hint=self._recovery_hint(ending)
                )

    def _check_size(self) -> None:
        if not self.is_safe_to_access():
            raise self._truncated_error("-shm")
        header = os.pread(self._descriptors[""], HEADER_BYTES, 0)
        if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
            raise self._truncated_error("")
        page_bytes = int.from_bytes(header[16:18])
        page_bytes = 65_536 if page_bytes == 1 else page_bytes
        is_short = os.fstat(self._descriptors[""]).st_size < page_bytes * int.from_bytes(header[28:32])
        self._short_checks = self._short_checks + 1 if is_short else 0
        if self._short_checks > MAX_SHORT_CHECKS:
            raise self._truncated_error("")
        counter = int.from_bytes(header[24:28])
        if counter < self._change_counter:
            raise LedgerError(
                f"the ledger {self.file} was overwritten with an older copy while it is in use",
                hint=f"stop the forwarder, remove {self.file}-wal and {self.file}-shm, restore the copy, start again",
            )
        self._change_counter = counter
        self._check_wal(page_bytes)

    def _check_wal(self, page_bytes: int) -> None:
        """Raise LedgerError if the write-ahead log has lost commits that no checkpoint has copied into the ledger."""
        if "-wal" not in self._descriptors or "-shm" not in self._descriptors:
            return
        index = os.pread(self._descriptors["-shm"], SHM_HEADER_BYTES, 0)
        last_frame, copied = (int.from_bytes(index[part], sys.byteorder) for part in (LAST_FRAME, COPIED))
        needed = WAL_HEADER_BYTES + last_frame * (FRAME_HEADER_BYTES + page_bytes)
        if last_frame > copied and os.fstat(self._descriptors["-wal"]).st_size < needed:
            raise self._truncated_error("-wal")

    def _check_mount(self) -> None:
        if os.fstatvfs(self._descriptors[""]).f_flag & os.ST_RDONLY:
            raise LedgerUnavailable(
                f"the ledger {self.file} cannot be written now: its file system is read-only",
                hint="check its disk, and mount it writable again",
            )

    def _truncated_error(self, ending: str) -> LedgerError:
        return LedgerError(
            f"{ENDINGS[ending]} {self.file}{ending} was truncated or overwritten while it is in use",
            hint="restart the forwarder; if it then refuses the ledger, restore it from a backup or run "
            "`forwarder ledger repair`",
        )

    def _recovery_hint(self, ending: str) -> str:
        """Return a hint that recovers the content while this process keeps it open."""
        if os.fstat(self._descriptors[ending]).st_nlink:
            return f"move it back to {self.file}{ending}, with the neighbouring files that begin with the same name"
        if os.path.lexists(f"{self.file}{ending}"):
            copy = f"/proc/{os.getpid()}/fd/{self._descriptors[ending]}"
            return f"the one in use is readable as {copy} until the forwarder stops: keep a copy, then restart it"
        if ending:
            return "restart the forwarder: it writes the ledger whole when it stops"
        return f"restart the forwarder: it writes the ledger back to {self.file} when it stops"


def _unavailable_error(file: Path, error: OSError) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"the ledger {file} cannot be read now: {error.strerror}",
        hint=hint_for(error, "check its disk, its mount and its permissions"),
    )
