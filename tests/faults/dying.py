"""A verb that dies at one of its steps on disk: at the first of them, the second, and so on until it lives.

    python -m tests.faults.dying PLACE VERB…

`PLACE/start` is what each try begins with; what the n-th leaves behind is `PLACE/n`. What is piped in is given to
every try. The verb's own process is a copy of this one, which has loaded the program already.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from forwarder.cli import main as forwarder

MOST: Final = 100

STEPS: Final = ("replace", "rename", "unlink", "remove", "link", "symlink", "truncate", "ftruncate", "fsync", "write")
"""Functions of `os` that change what is on disk, or make it stay; `open` is another where it makes a file.
`pathlib` and `tempfile` go through them, and a buffered file through none, so a write counts at its fsync.
"""


class Countdown:
    """Dies before the `left`-th step."""

    def __init__(self, left: int) -> None:
        self.left = left

    def install(self) -> None:
        for name in STEPS:
            setattr(os, name, self._counted(getattr(os, name), lambda *_: True))
        os.open = self._counted(os.open, lambda *given: bool(given[1] & os.O_CREAT))

    def _counted(self, call: Callable[..., Any], counts: Callable[..., bool]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            if counts(*args):
                self.left -= 1
                if self.left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **named)

        return counted


def run(place: Path, verb: list[str], piped: str, left: int) -> int:
    """The exit code, or minus the signal."""
    shutil.copytree(place / "start", place / str(left), symlinks=True)
    child = os.fork()
    if not child:
        sys.stdin = io.StringIO(piped)
        sys.argv = ["forwarder", "-c", str(place / str(left) / "forwarder.toml"), *verb]
        Countdown(left).install()
        forwarder()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(arguments: list[str]) -> int:
    place, verb, piped = Path(arguments[0]), arguments[1:], sys.stdin.read()
    for left in range(1, MOST):
        code = run(place, verb, piped, left)
        if code != -signal.SIGKILL:
            return code
    raise SystemExit("it never ends")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
