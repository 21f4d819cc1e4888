"""The processes of a benchmark: they exchange lines with it, and end with it."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

MAX_END_SECONDS = 10.0
"""The time from the end of the input to the end of a process."""


class LineProcess:
    """A process that answers each line of its input with a line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def read(self) -> str:
        """Return the next line. Raise RuntimeError if the process has ended. Its messages are on stderr."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process exits with {self._process.wait()}: {self._process.args!r}")
        return line.strip()

    def request(self, line: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self.read()


@contextmanager
def start_process(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: IO[str] | None = None,
) -> Iterator[LineProcess]:
    """Start a process that ends with its input. Its stderr goes to `log`, or to that of this process."""
    process = subprocess.Popen(  # noqa: S603  # a program of this package, or a measured one
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=env, cwd=cwd
    )
    try:
        yield LineProcess(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(MAX_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def start_module(name: str, *arguments: str) -> Iterator[LineProcess]:
    """Start a Python module as a process."""
    with start_process([sys.executable, "-m", name, *arguments]) as started:
        yield started
