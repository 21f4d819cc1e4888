"""Writing a file so that a reader, or a crash, finds the old text or the new one, and never half of either."""

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Write `data` in place of `path`; a link is followed and stays a link.

    `mode` is for a new file, and what is there keeps its own mode and, as far as we may, its owner. Raises OSError;
    PermissionError for a file that is read-only, although its folder would let us rename over it.
    """
    target = path.resolve()
    try:
        was = target.stat()
    except FileNotFoundError:
        was = None
    if was is not None and not os.access(target, os.W_OK):
        raise PermissionError(13, "it is read-only", str(target))
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), stat.S_IMODE(was.st_mode) if was else mode or 0o600)
            if was is not None and (was.st_uid, was.st_gid) != (os.geteuid(), os.getegid()):
                _keep_owner(file.fileno(), was)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)  # noqa: PTH105  # between a descriptor's name and a path
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def create(path: Path, data: bytes, *, mode: int = 0o600, owner: os.stat_result | None = None) -> None:
    """Write a file that must not be there yet, and is there whole or not at all.

    `owner` gives it the owner of another, as far as we may. Raises FileExistsError, OSError.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                _keep_owner(file.fileno(), owner)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # which a rename would do, too, but over what is there
    finally:
        Path(temporary).unlink(missing_ok=True)
    sync_folder(path.parent)


def rename(path: Path, target: Path) -> None:
    """Rename durably."""
    path.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """A rename is durable only once its folder is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep_owner(descriptor: int, was: os.stat_result) -> None:
    try:
        os.fchown(descriptor, was.st_uid, was.st_gid)
    except PermissionError:  # only root gives files away; the mode is kept all the same
        return


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes of ours that read, change and write a file in it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
