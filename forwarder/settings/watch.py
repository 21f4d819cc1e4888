"""The detection of changed files: twice a second, by inode, size and times."""

import asyncio
import math
import os
from collections.abc import Sequence
from pathlib import Path

from forwarder import heartbeat
from forwarder.clock import Clock

CHECK_INTERVAL_SECONDS = 0.4
"""The time between two checks. With STABLE_SECONDS, a change is detected well within a second."""

STABLE_SECONDS = 0.1
"""The time for which changed files must not change again, so that a partly written file is not read."""

RETRY_SECONDS = 5.0
"""The time after which files that could not be read are read again: too many open files, for example, may pass."""

Fingerprint = tuple[tuple[int, ...] | None, ...]


class FileWatch:
    """A watch of files by path. A renamed file or a changed link at the path is a change as well."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._known = self._fingerprint()

    async def changed(
        self, clock: Clock, *, or_when: asyncio.Event | None = None, or_after_seconds: float = math.inf
    ) -> bool:
        """Wait until a file has changed and no file changes any more, or until `or_when` is set, which is then cleared.

        Return False if neither happened within `or_after_seconds`.
        """
        wake = or_when or asyncio.Event()
        end = clock.monotonic() + or_after_seconds
        while (found := self._fingerprint()) == self._known:
            heartbeat.beat()
            if clock.monotonic() >= end:
                return False
            if await clock.wait(wake, CHECK_INTERVAL_SECONDS):
                wake.clear()
                return True
        while True:
            heartbeat.beat()
            await clock.sleep(STABLE_SECONDS)
            latest = self._fingerprint()
            if latest == found:
                break
            found = latest
        self._known = found
        return True

    def _fingerprint(self) -> Fingerprint:
        return tuple(identity(path) for path in self._paths)


def identity(path: Path) -> tuple[int, ...] | None:
    try:
        stat = os.stat(path)  # noqa: PTH116  # follows links: what counts is the file at their end
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
