"""What takes long to make is made once in a run, and copied for each who needs it."""

import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory


def copied(name: str, make: Callable[[Path], object], into: Path) -> Path:
    """A copy of what `make` puts into the file that it is given; one name stands for one content.

    It is on the disk by then, and its writing disturbs no measurement.
    """
    kept = Path(_kept().name) / name
    if not kept.exists():
        make(kept)
    shutil.copyfile(kept, into)
    os.sync()
    return into


@cache
def _kept() -> TemporaryDirectory[str]:
    """Until the process ends."""
    return TemporaryDirectory(prefix="bench-")
