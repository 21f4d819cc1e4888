"""A command that is killed at its first step on disk, at its second, and so on, until it completes.

    python -m tests.faults.kill_at_step DIRECTORY COMMAND…

`DIRECTORY/start` is the installation with which each run starts. The n-th run leaves `DIRECTORY/n`, and in
`DIRECTORY/n.step` the name of the step that it did not reach. Every run gets the same standard input. The process of
the command is a fork of this one, which has loaded the program already.
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

MAX_STEPS: Final = 100

NAMED_BY_TARGET: Final = ("replace", "rename", "link")
"""The functions whose step is named by the resulting file."""

STEPS: Final = ("replace", "rename", "unlink", "remove", "link", "symlink", "truncate", "ftruncate", "fsync", "write")
"""The functions of `os` that change files or make changes durable. `open` is another if it creates a file.
`pathlib` and `tempfile` call them. A buffered file calls none of them, so that a write counts at its fsync.
"""


TEMPORARY: Final = re.compile(r"^\.(.+)\.[a-z0-9_]{8}$")


class Countdown:
    """A countdown that kills the process before the `left`-th step, and writes the step's name to `step_file`."""

    def __init__(self, left: int, step_file: Path) -> None:
        self.left = left
        self.step_file = step_file

    def install(self) -> None:
        for name in STEPS:
            setattr(os, name, self._counted(name, getattr(os, name), lambda *_: True))
        os.open = self._counted("make", os.open, lambda *given: bool(given[1] & os.O_CREAT))

    def _counted(self, name: str, call: Callable[..., Any], counts: Callable[..., bool]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            if counts(*args) and not _is_standard(args[0]):
                self.left -= 1
                if self.left == 0:
                    self.step_file.write_text(f"{name} {_file(args[-1] if name in NAMED_BY_TARGET else args[0])}")
                    os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **named)

        return counted


def _is_standard(file: Any) -> bool:
    """Return whether the descriptor is a standard stream, which is not on disk."""
    return isinstance(file, int) and file <= sys.stderr.fileno()


def _file(file: Any) -> str:
    """Return the name of a path or descriptor. A temporary file has the name of the file that it replaces."""
    path = Path(f"/proc/self/fd/{file}").resolve() if isinstance(file, int) else Path(os.fsdecode(file))
    if path.is_dir():
        return "its folder"
    temporary = TEMPORARY.match(path.name)
    return f"the new {temporary[1]}" if temporary else path.name


def run(directory: Path, command: list[str], piped: str, left: int) -> int:
    """Run the command on a copy of the installation, and return the exit code, or minus the signal."""
    shutil.copytree(directory / "start", directory / str(left), symlinks=True)
    child = os.fork()
    if not child:
        sys.stdin = io.TextIOWrapper(io.BytesIO(piped.encode()))
        sys.argv = ["forwarder", "-c", str(directory / str(left) / "forwarder.toml"), *command]
        Countdown(left, directory / f"{left}.step").install()
        forwarder()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(arguments: list[str]) -> int:
    directory, command, piped = Path(arguments[0]), arguments[1:], sys.stdin.read()
    for left in range(1, MAX_STEPS):
        code = run(directory, command, piped, left)
        if code != -signal.SIGKILL:
            return code
    raise SystemExit(f"the command does not complete within {MAX_STEPS} steps")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
