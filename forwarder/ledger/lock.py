"""One running process a ledger."""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from forwarder.errors import LedgerError, LedgerLocked, LedgerUnavailable

TRIES, BETWEEN_TRIES = 10, 0.05

HAD_LEDGER = "its ledger was made"


def lock_file(ledger: Path) -> Path:
    return ledger.with_name(ledger.name + ".lock")


def is_running(ledger: Path) -> bool:
    """Whether a process holds the lock now."""
    try:
        descriptor = os.open(lock_file(ledger), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _locked(descriptor: int) -> bool:
    """Whether we have it now. `is_running` holds it for a moment, which is not to be in our way."""
    for _ in range(TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(BETWEEN_TRIES)
        else:
            return True
    return False


class RunningLock:
    """Held by `run` and `once`. The system lets go of it when the process ends, however it ends."""

    def __init__(self, ledger: Path, *, must_exist: bool = True) -> None:
        """`must_exist` is whether a ledger that was there has to be there still."""
        self.file = lock_file(ledger)
        self.had_ledger = False
        self._ledger = ledger
        self._must_exist = must_exist
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Raises LedgerLocked, which names the process that holds it, and LedgerError where the ledger was lost."""
        try:
            descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LedgerUnavailable(
                f"the lock {self.file} cannot be opened: {error.strerror}", hint="make its folder writable"
            ) from None
        if not _locked(descriptor):
            holder = os.pread(descriptor, 100, 0).decode(errors="replace").partition("\n")[0] or "another process"
            os.close(descriptor)
            raise LedgerLocked(
                f"a forwarder is running on this ledger already: {holder}", hint=f"it holds {self.file}"
            ) from None
        self._descriptor = descriptor
        self._require_ledger(descriptor)
        return self

    def ledger_is_there(self) -> None:
        """Remember that there is a ledger, so that its loss is noticed."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"process {os.getpid()}\n{HAD_LEDGER}\n".encode(), 0)

    def _require_ledger(self, descriptor: int) -> None:
        """A ledger that was there and is gone would be begun anew, and send again what it had sent."""
        self.had_ledger = HAD_LEDGER.encode() in os.pread(descriptor, 200, 0)
        if self.had_ledger and self._must_exist and not self._ledger.exists():
            self.__exit__(None, None, None)
            raise LedgerError(
                f"the ledger {self._ledger} is gone",
                hint=f"bring it back; or remove {self.file} to begin a new one, which knows nothing of what was sent",
            )
        if not self.had_ledger:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()}\n".encode(), 0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
