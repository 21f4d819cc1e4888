"""The detection of changed files: twice a second, by their identity, size and times."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from forwarder import heartbeat
from forwarder.clock import Clock

CHECK_INTERVAL_SECONDS = 0.4
"""With the pause below, a change takes effect well within a second."""

SETTLE_SECONDS = 0.1
"""Files must not change for this long, so that one that is being written is not read half."""

Fingerprint = tuple[tuple[int, ...] | None, ...]


class FileWatch:
    """A watch of files by name, so that an editor's rename and a swapped link are changes like any other."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._known = self._fingerprint()

    async def changed(self, clock: Clock, *, or_when: asyncio.Event | None = None) -> None:
        """Wait until the files are not what they were at the last call and have come to rest, or until an event."""
        wake = or_when or asyncio.Event()
        while (found := self._fingerprint()) == self._known:
            heartbeat.beat()
            if await clock.wait(wake, CHECK_INTERVAL_SECONDS):
                wake.clear()
                return
        while True:
            heartbeat.beat()
            await clock.sleep(SETTLE_SECONDS)
            latest = self._fingerprint()
            if latest == found:
                break
            found = latest
        self._known = found

    def _fingerprint(self) -> Fingerprint:
        return tuple(identity(path) for path in self._paths)


def identity(path: Path) -> tuple[int, ...] | None:
    try:
        stat = os.stat(path)  # noqa: PTH116  # follows links: what counts is the file at their end
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
