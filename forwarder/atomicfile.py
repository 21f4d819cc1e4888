"""The atomic replacement of files, and the reading of files that a person named.

A reader finds the old content or the new content, never a part of one, even after a crash. A path that a person named
may lead to anything: a directory, a pipe, a broken link.
"""

import errno
import fcntl
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_READ_BYTES = 16 * 1024 * 1024
"""The size of the largest file of settings or secrets. A larger file was named by mistake."""

MAX_LOCK_WAIT_SECONDS = 5.0
BETWEEN_LOCK_ATTEMPTS_SECONDS = 0.02

SINGLE_FILE_MOUNT = "it is mounted as a single file, which cannot be replaced: mount its folder instead"

STALE_MOUNT_HINT = "mount its folder instead of the single file, and start the container again"

_FILE_TYPES = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read(path: Path, *, max_bytes: int = MAX_READ_BYTES) -> bytes:
    """Return the content of a regular file.

    Raise FileNotFoundError only if nothing has that name. Raise OSError, with a sentence for a person in `strerror`,
    for a directory, a pipe, a socket, a device, a broken or circular link, and a file that is too large. The function
    never waits for the other end of a pipe.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise _with_explanation(path, error) from None
    file_type = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if file_type != stat.S_IFREG:
        os.close(descriptor)
        raise OSError(
            errno.EINVAL, f"it is {_FILE_TYPES.get(file_type, 'something else')}, not a regular file", str(path)
        )
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes} bytes", str(path))
    return content


def _with_explanation(path: Path, error: OSError) -> OSError:
    match error.errno:
        case errno.ENOENT if os.path.islink(path):  # noqa: PTH114  # Path.is_link raises for some links before 3.13
            return OSError(errno.ENOLINK, "it is a symbolic link to a file that is not there", str(path))
        case errno.ELOOP:
            return OSError(errno.ELOOP, "it is a symbolic link that leads back to itself", str(path))
        case errno.ENXIO:
            return OSError(errno.ENXIO, "it is a socket, not a regular file", str(path))
        case errno.EACCES:
            return PermissionError(errno.EACCES, "this user may not read it", str(path))
        case _:
            return error


def resolve_links(path: Path) -> Path:
    """Return the path at the end of all links. Unlike `Path.resolve`, this never raises."""
    return Path(os.path.realpath(path))


def lexists(path: Path) -> bool:
    """Return whether anything has that name. A broken link counts."""
    return os.path.lexists(path)


def is_stale_mount(path: Path) -> bool:
    """Return whether a file is a mount of a single file that was replaced outside, so that changes are invisible here.

    Docker mounts a single file by its inode. If an editor renames a new file over it, the container keeps the old one.
    """
    try:
        if path.stat().st_nlink:
            return False
        mounts = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return False
    point = os.fsencode(resolve_links(path))
    return any(_unescaped(line.split(b" ")[4]) == point for line in mounts)


def _unescaped(field: bytes) -> bytes:
    """Return a path of mountinfo with its octal escapes decoded. It escapes white space and backslashes."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)


def is_writable(path: Path) -> bool:
    """Return whether this process may write a file. Capabilities count."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def write_hint(*paths: Path) -> str:
    """Return a hint for files that cannot be written. If another user owns one or its folder, the hint is a `chown`.

    If a command ran as root once, its files cannot be written by the service's user.
    """
    for path in (each for named in paths for each in (named, named.parent)):
        try:
            owner = path.stat().st_uid
        except OSError:
            continue
        if owner != (user := os.geteuid()) and not is_writable(path):
            return f"make it writable: {path} belongs to user {owner}, and this is user {user}: chown {user} {path}"
    return "make the file and its folder writable"


def replace(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Replace the content of `path` with `data`. A link is followed, and stays a link.

    `mode` applies to a new file. An existing file keeps its mode and, if permitted, its owner. Raise OSError if the
    file cannot be written. Raise PermissionError for a read-only file, although its folder may permit a rename.
    """
    target = resolve_links(path)
    try:
        existing = target.stat()
    except FileNotFoundError:
        existing = None
    if existing is not None and not is_writable(target):
        raise PermissionError(13, "it is read-only", str(target))
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), stat.S_IMODE(existing.st_mode) if existing else mode or 0o600)
            if existing is not None and (existing.st_uid, existing.st_gid) != (os.geteuid(), os.getegid()):
                _keep_owner(file.fileno(), existing)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)  # noqa: PTH105  # mkstemp returns a name, not a Path
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno == errno.EBUSY:
            raise OSError(errno.EBUSY, SINGLE_FILE_MOUNT, str(target)) from None
        raise
    sync_folder(target.parent)


def create(path: Path, data: bytes, *, mode: int = 0o600, owner: os.stat_result | None = None) -> None:
    """Create a file with this content. It appears complete or not at all.

    If permitted, the new file gets the owner of `owner`. Raise FileExistsError if the file exists, or OSError if it
    cannot be written.
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
        os.link(temporary, path)  # unlike a rename, this fails if the file exists
    finally:
        Path(temporary).unlink(missing_ok=True)
    sync_folder(path.parent)


def rename(path: Path, target: Path) -> None:
    """Rename a file durably, over any existing target."""
    path.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Write the entries of a folder to disk. A rename in the folder is durable only after that."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep_owner(descriptor: int, existing: os.stat_result) -> None:
    try:
        os.fchown(descriptor, existing.st_uid, existing.st_gid)
    except PermissionError:  # only root may change the owner; the mode is kept in any case
        return


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder during the block, so that no other forwarder changes a file in it. Wait for an earlier lock.

    Raise OSError if the folder cannot be opened, its file system has no locks, or another process keeps the lock for
    MAX_LOCK_WAIT_SECONDS, for example because it was stopped.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def lock_hint(error: OSError) -> str:
    """Return a hint for an error of `locked`."""
    if isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
        return "make the folder, or correct its path or its permissions"
    if error.errno == errno.EAGAIN:
        return "end the process that holds the lock, and try again"
    return "move it to a local disk: some network file systems have no locks"


def _lock(descriptor: int, folder: Path) -> None:
    # A wait without an end would keep a thread for ever, and the forwarder has few.
    end = time.monotonic() + MAX_LOCK_WAIT_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                reason = f"another process has locked it for {MAX_LOCK_WAIT_SECONDS:.0f} s; `fuser` names it"
                raise OSError(errno.EAGAIN, reason, str(folder)) from None
            time.sleep(BETWEEN_LOCK_ATTEMPTS_SECONDS)
        except OSError as error:
            raise OSError(error.errno, f"its file system has no locks ({error.strerror})", str(folder)) from None
