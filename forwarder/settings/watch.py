"""Noticing that files changed: twice a second, by their identity, size and times."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from forwarder.clock import Clock

LOOK_EVERY = 0.4
"""Seconds between two looks: with the pause below, a change takes effect well within a second."""

SETTLE = 0.1
"""Seconds for which files must stay as they are, so that one that is being written is not read half."""

Look = tuple[tuple[int, ...] | None, ...]


class FileWatch:
    """Looks at files by name, so that an editor's rename and a swapped link are changes like any other."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._seen = self._look()

    async def changed(self, clock: Clock, *, or_when: asyncio.Event | None = None) -> None:
        """Wait until the files are not what they were at the last call and have come to rest, or until an event."""
        asked = or_when or asyncio.Event()
        while (look := self._look()) == self._seen:
            if await clock.wait(asked, LOOK_EVERY):
                asked.clear()
                return
        while True:
            await clock.sleep(SETTLE)
            again = self._look()
            if again == look:
                break
            look = again
        self._seen = look

    def _look(self) -> Look:
        return tuple(identity(path) for path in self._paths)


def identity(path: Path) -> tuple[int, ...] | None:
    try:
        stat = os.stat(path)  # noqa: PTH116  # follows links: what counts is the file at their end
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
