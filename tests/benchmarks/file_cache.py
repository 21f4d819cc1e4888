"""A cache of files that take long to create: each is created once in a run, and copied for each use."""

import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory


def copy_cached(name: str, make: Callable[[Path], object], into: Path) -> Path:
    """Copy a cached file to `into`. On the first use of its name, `make` creates it.

    The copy is synced to the disk, so that no write disturbs a measurement.
    """
    cached = Path(_cache_folder().name) / name
    if not cached.exists():
        make(cached)
    shutil.copyfile(cached, into)
    os.sync()
    return into


@cache
def _cache_folder() -> TemporaryDirectory[str]:
    """Return the folder of cached files, which is removed at the end of the process."""
    return TemporaryDirectory(prefix="bench-")
