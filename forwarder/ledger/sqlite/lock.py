"""The lock that allows one running process per ledger."""

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from forwarder import atomicfile
from forwarder.errors import LedgerError, LedgerLocked, LedgerUnavailable, SettingsError
from forwarder.ledger.sqlite.causes import LOCAL_DISK_HINT, hint_for

MAX_LOCK_ATTEMPTS, LOCK_RETRY_SECONDS = 10, 0.05
"""The number of attempts to acquire a lock, and the time between them."""

LEDGER_CREATED_LINE = "its ledger was made"
"""The line of the lock file that records that the ledger was created completely."""

INODES_PREFIX = "inodes "
"""The start of the line that identifies the files in use. Their paths may name other files later."""

PROBLEM_LINE = "its ledger cannot be used:"
"""The line before the message and the hint of the error that prevents the process from using its ledger."""


def lock_file(ledger: Path) -> Path:
    return ledger.with_name(ledger.name + ".lock")


def is_running(ledger: Path) -> bool:
    """Return whether a process holds the lock now. Raise LedgerError if its file system has no locks."""
    try:
        descriptor = os.open(lock_file(ledger), os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        raise _locks_unsupported_error(lock_file(ledger), error) from None
    finally:
        os.close(descriptor)
    return False


def _locks_unsupported_error(file: Path, error: OSError) -> LedgerError:
    """Return the error for a file system without locks. Without a lock, two processes could send every event twice."""
    return LedgerError(f"the lock {file} cannot be acquired: {error.strerror}", hint=LOCAL_DISK_HINT)


def _try_lock(descriptor: int) -> bool:
    """Acquire the lock, and return whether this succeeded. Raise OSError if the file system has no locks.

    It retries, because `is_running` in another process holds the lock for a moment.
    """
    for _ in range(MAX_LOCK_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_RETRY_SECONDS)
        else:
            return True
    return False


def require_same_files(ledger: Path) -> None:
    """Raise LedgerError if a running forwarder uses other files than the paths name now, or cannot use its files.

    Otherwise, a command would read a ledger that is not in use, or write to it.
    """
    if not is_running(ledger):
        return
    lines = lock_file(ledger).read_text(errors="replace").splitlines()
    if PROBLEM_LINE in lines:
        message, hint = [*lines[lines.index(PROBLEM_LINE) + 1 :], "", ""][:2]
        raise LedgerError(message, hint=hint)
    inodes = next((line.removeprefix(INODES_PREFIX).split() for line in lines if line.startswith(INODES_PREFIX)), [])
    for ending, inode in zip(("", "-wal", "-shm"), inodes, strict=False):
        path = Path(f"{ledger}{ending}")
        if not path.exists() or str(path.stat().st_ino) != inode:
            raise LedgerError(
                f"{path} is not the file that the forwarder uses ({lines[0]}): it was removed, moved or replaced",
                hint=f"move the original back; or restart the forwarder, which writes {ledger} again if it was removed",
            )


def require_ledger(ledger: Path) -> None:
    """Raise LedgerError if a ledger was created before and does not exist now."""
    require_same_files(ledger)
    if was_created(ledger) and not ledger.exists():
        raise _missing_error(ledger)


def require_folder(ledger: Path) -> None:
    """Raise SettingsError if the folder of the ledger does not exist."""
    if not ledger.parent.is_dir():
        raise SettingsError(
            f"the folder of ledger.url does not exist: {ledger.parent}", hint="create it, or change ledger.url"
        )


def require_writable(ledger: Path) -> None:
    """Raise LedgerUnavailable if this user cannot write or create the files that a run would write."""
    for file in (ledger, lock_file(ledger)):
        if not atomicfile.is_writable(file if file.exists() else file.parent):
            raise LedgerUnavailable(f"{file} cannot be written by this user", hint=atomicfile.write_hint(file))


def was_created(ledger: Path) -> bool | None:
    """Return whether a process created the ledger completely, or None if no process has started on it."""
    try:
        return LEDGER_CREATED_LINE in lock_file(ledger).read_text(errors="replace")
    except OSError:
        return None


class RunningLock:
    """The lock that `run` and `once` hold. The system releases it when the process ends, even after a crash."""

    def __init__(self, ledger: Path, *, must_exist: bool = True) -> None:
        """Prepare the lock of a ledger. With `must_exist`, a ledger that was created before has to exist."""
        self.file = lock_file(ledger)
        self.ledger_created = False
        self._ledger = ledger
        self._must_exist = must_exist
        self._descriptor: int | None = None
        self._inodes: Sequence[int] = ()
        self._problem: LedgerError | None = None

    def __enter__(self) -> Self:
        """Acquire the lock. Raise LedgerLocked if another process holds it, or LedgerError if the ledger was lost."""
        self._descriptor = self._acquire()
        self._require_ledger(self._descriptor)
        return self

    def save_created(self, inodes: Sequence[int] = ()) -> None:
        """Record that the ledger was created, so that its loss is detected, and the inodes of its files."""
        self.ledger_created, self._inodes = True, inodes
        self._write()

    def save_problem(self, problem: LedgerError | None) -> None:
        """Record why this process cannot use the ledger, or None if it can. Commands report the recorded problem."""
        if (problem and problem.message) != (self._problem and self._problem.message):
            self._problem = problem
            self._write()

    def ensure_held(self) -> None:
        """Acquire the lock again if its file was removed or replaced, because another process could start.

        Raise LedgerError if this is not possible, or LedgerLocked if another process was faster.
        """
        if self._descriptor is None:
            return
        opened = os.fstat(self._descriptor)
        with contextlib.suppress(OSError):
            named = os.stat(self.file)  # noqa: PTH116  # Path.stat takes twice as long, and this runs per transaction
            if (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino):
                return
        descriptor = self._acquire()
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._write()

    def _acquire(self) -> int:
        try:
            descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerUnavailable(
                f"the lock {self.file} cannot be opened: {error.strerror}",
                hint=hint_for(error, atomicfile.write_hint(self.file)),
            ) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise LedgerError(f"the lock {self.file} is not a regular file", hint="move it away")
        try:
            is_acquired = _try_lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise _locks_unsupported_error(self.file, error) from None
        if not is_acquired:
            holder = os.pread(descriptor, 100, 0).decode(errors="replace").partition("\n")[0] or "another process"
            os.close(descriptor)
            raise LedgerLocked(
                f"a forwarder is running on this ledger already: {holder}", hint=f"it holds {self.file}"
            ) from None
        return descriptor

    def _require_ledger(self, descriptor: int) -> None:
        """Raise LedgerError if the ledger is lost. A new ledger would send all events of the old one again."""
        self.ledger_created = LEDGER_CREATED_LINE.encode() in os.pread(descriptor, 200, 0)
        if self.ledger_created and self._must_exist and not self._ledger.exists():
            self.__exit__(None, None, None)
            raise _missing_error(self._ledger)
        self._write()

    def _write(self) -> None:
        if self._descriptor is None:
            return
        lines = [f"process {os.getpid()}"]
        if self.ledger_created:
            lines.append(LEDGER_CREATED_LINE)
        if self._inodes:
            lines.append(INODES_PREFIX + " ".join(map(str, self._inodes)))
        if self._problem is not None:
            lines += [PROBLEM_LINE, self._problem.message, self._problem.hint]
        content = "".join(f"{line}\n" for line in lines).encode()
        # The lock holds without its content too, for example on a full disk. Then the previous content stays.
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, content, 0)
            os.ftruncate(self._descriptor, len(content))

    def __exit__(
        self, exception_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _missing_error(ledger: Path) -> LedgerError:
    return LedgerError(
        f"the ledger {ledger} is gone",
        hint=f"restore it; or remove {lock_file(ledger)} to start a new one, which does not know what was sent",
    )
