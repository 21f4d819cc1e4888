"""A verb that dies at one of its steps on disk: at the first of them, the second, and so on until it lives.

    python -m tests.faults.kill_at_step PLACE VERB…

`PLACE/start` is what each try begins with; what the n-th leaves behind is `PLACE/n`, and `PLACE/n.step` the name of
the step that it did not live to do. What is piped in is given to every try. The verb's own process is a copy of this
one, which has loaded the program already.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from forwarder.cli import main as forwarder

MOST: Final = 100

ONTO: Final = ("replace", "rename", "link")
"""Steps that are named by the file that they bring about."""

STEPS: Final = ("replace", "rename", "unlink", "remove", "link", "symlink", "truncate", "ftruncate", "fsync", "write")
"""Functions of `os` that change what is on disk, or make it stay; `open` is another where it makes a file.
`pathlib` and `tempfile` go through them, and a buffered file through none, so a write counts at its fsync.
"""


TEMPORARY: Final = re.compile(r"^\.(.+)\.[a-z0-9_]{8}$")


class Countdown:
    """Dies before the `left`-th step, and leaves its name in `word`."""

    def __init__(self, left: int, word: Path) -> None:
        self.left = left
        self.word = word

    def install(self) -> None:
        for name in STEPS:
            setattr(os, name, self._counted(name, getattr(os, name), lambda *_: True))
        os.open = self._counted("make", os.open, lambda *given: bool(given[1] & os.O_CREAT))

    def _counted(self, name: str, call: Callable[..., Any], counts: Callable[..., bool]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            if counts(*args) and not _is_standard(args[0]):
                self.left -= 1
                if self.left == 0:
                    self.word.write_text(f"{name} {_file(args[-1] if name in ONTO else args[0])}")
                    os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **named)

        return counted


def _is_standard(file: Any) -> bool:
    """What is said on standard output or error is nothing on disk."""
    return isinstance(file, int) and file <= sys.stderr.fileno()


def _file(file: Any) -> str:
    """A file, or what a descriptor is of: its name, and of a temporary one that of the file it is to become."""
    path = Path(f"/proc/self/fd/{file}").resolve() if isinstance(file, int) else Path(os.fsdecode(file))
    if path.is_dir():
        return "its folder"
    temporary = TEMPORARY.match(path.name)
    return f"the new {temporary[1]}" if temporary else path.name


def run(place: Path, command: list[str], piped: str, left: int) -> int:
    """The exit code, or minus the signal."""
    shutil.copytree(place / "start", place / str(left), symlinks=True)
    child = os.fork()
    if not child:
        sys.stdin = io.TextIOWrapper(io.BytesIO(piped.encode()))
        sys.argv = ["forwarder", "-c", str(place / str(left) / "forwarder.toml"), *command]
        Countdown(left, place / f"{left}.step").install()
        forwarder()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(arguments: list[str]) -> int:
    place, command, piped = Path(arguments[0]), arguments[1:], sys.stdin.read()
    for left in range(1, MOST):
        code = run(place, command, piped, left)
        if code != -signal.SIGKILL:
            return code
    raise SystemExit("it never ends")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
