"""The errors of disks and file systems: errors of SQLite and of the system, as errors of the ledger with a hint."""

import errno
import os
import sqlite3
from pathlib import Path

from forwarder import atomicfile
from forwarder.errors import LedgerError, LedgerUnavailable

RECOVERY_HINT = "restore it from a backup, or rescue what can be read with `forwarder ledger repair`"

FREE_SPACE_HINT = "free space on its disk: `df` shows the free space, `df -i` the free inodes"

LOCAL_DISK_HINT = (
    "put the ledger on a local disk (`ledger.url`): network shares and shared folders of a virtual machine often lack"
    " the locks and the shared memory that it needs"
)

HINT_BY_ERRNO = {
    errno.ENOSPC: FREE_SPACE_HINT,
    errno.EDQUOT: "raise this user's disk quota, or free space in it",
    errno.EROFS: "check its disk, and mount it writable",
    errno.EMFILE: "raise the limit of open files: LimitNOFILE of the unit, or `ulimit -n`",
    errno.ENFILE: "raise the system's limit of open files: sysctl fs.file-max",
    errno.ENOLCK: LOCAL_DISK_HINT,
    errno.EOPNOTSUPP: LOCAL_DISK_HINT,
    errno.ENOSYS: LOCAL_DISK_HINT,
}

FILE_IN_USE_HINT = (
    "another process locks it, such as a backup or a database browser: end it, or wait; otherwise put the ledger on a"
    " local disk (`ledger.url`), since not every network share has locks"
)

UNSUPPORTED_FILE_SYSTEM_CODES = {
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMLOCK,
    sqlite3.SQLITE_IOERR_SHMMAP,
    sqlite3.SQLITE_IOERR_LOCK,
    sqlite3.SQLITE_IOERR_RDLOCK,
    sqlite3.SQLITE_IOERR_UNLOCK,
}
"""The errors of file systems that do not support a write-ahead log: https://sqlite.org/wal.html, "Overview"."""


def hint_for(error: OSError, otherwise: str) -> str:
    """Return the hint for an error number, or `otherwise` for an unknown one."""
    return HINT_BY_ERRNO.get(error.errno or 0, otherwise)


def translate_error(error: sqlite3.Error, file: Path) -> LedgerError:
    """Return an error of SQLite as an error of the ledger: LedgerUnavailable if it may be temporary."""
    extended = getattr(error, "sqlite_errorcode", None) or 0
    code = extended & 0xFF
    hint = {
        sqlite3.SQLITE_FULL: FREE_SPACE_HINT,
        sqlite3.SQLITE_READONLY: atomicfile.write_hint(*(Path(f"{file}{ending}") for ending in ("", "-wal", "-shm"))),
        sqlite3.SQLITE_CANTOPEN: atomicfile.write_hint(file),
        sqlite3.SQLITE_BUSY: FILE_IN_USE_HINT,
        sqlite3.SQLITE_IOERR: "check its disk",
    }.get(code)
    if extended in UNSUPPORTED_FILE_SYSTEM_CODES:
        hint = LOCAL_DISK_HINT
    if hint:
        # SQLite reports the same error for a folder without permission, a full disk, and a process without descriptors.
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
            hint = _hint_for_folder(file.parent) or hint
        return LedgerUnavailable(f"the ledger {file} cannot be written now: {error}", hint=hint)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LedgerError(f"the ledger {file} is damaged: {error}", hint=RECOVERY_HINT)
    return LedgerError(f"the ledger {file} failed: {error}")


def _hint_for_folder(folder: Path) -> str:
    """Return the hint for a fault of a folder, or an empty text if no fault is visible."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.close(descriptor)
        usage = os.statvfs(folder)
    except OSError as error:
        return hint_for(error, "")
    # Some file systems have no fixed number of inodes: 0 of 0.
    return FREE_SPACE_HINT if not usage.f_bavail or (usage.f_files > 0 and not usage.f_favail) else ""
