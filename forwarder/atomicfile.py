"""Writing a file so that a reader, or a crash, finds the old text or the new one, and never half of either; and reading
one that a person named, whatever it is.
"""

import errno
import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_READ_BYTES = 16 * 1024 * 1024
"""Size of the largest file of settings or secrets. A larger one was named by mistake."""

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

    Raises FileNotFoundError only if nothing has that name, and OSError with a sentence for a person in `strerror` for
    a directory, a pipe, a socket, a device, a link that leads nowhere or around, and a file that is too large. It never
    waits for the other end of a pipe.
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
    """Return the path at the end of all links. Unlike `Path.resolve`, it never raises, whatever the links."""
    return Path(os.path.realpath(path))


def lexists(path: Path) -> bool:
    """Return whether anything has that name, also a link that leads nowhere."""
    return os.path.lexists(path)


def is_stale_mount(path: Path) -> bool:
    """Return whether a file is mounted by itself and was replaced outside, so that no later change is seen here.

    Docker mounts a single file by its inode. An editor that renames a new file over it leaves the old one here.
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
    """Return a path of mountinfo, in which white space and backslashes are octal."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)


def is_writable(path: Path) -> bool:
    """Return whether this process may write a file, with the capabilities that it has."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def write_hint(*paths: Path) -> str:
    """Return what lets this user write these files: those of another user are named, with the command that helps.

    A command that once ran as root leaves files that the service's own user cannot write.
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
    """Write `data` in place of `path`; a link is followed and stays a link.

    `mode` is for a new file, and what is there keeps its own mode and, as far as we may, its owner. Raises OSError;
    PermissionError for a file that is read-only, although its folder would let us rename over it.
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
        os.replace(temporary, target)  # noqa: PTH105  # between a descriptor's name and a path
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno == errno.EBUSY:
            raise OSError(errno.EBUSY, SINGLE_FILE_MOUNT, str(target)) from None
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


def _keep_owner(descriptor: int, existing: os.stat_result) -> None:
    try:
        os.fchown(descriptor, existing.st_uid, existing.st_gid)
    except PermissionError:  # only root gives files away; the mode is kept all the same
        return


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes of ours that read, change and write a file in it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise OSError(error.errno, f"its file system has no locks ({error.strerror})", str(folder)) from None
        yield
    finally:
        os.close(descriptor)
