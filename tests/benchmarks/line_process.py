"""Processes beside the benchmark: started, spoken to in lines, and ended with it."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ENDS_WITHIN = 10.0
"""Seconds from the end of its input to the end of a peer."""


class Peer:
    """A process that reads lines and answers each with a line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def read(self) -> str:
        """The next line. Raises RuntimeError where it ended instead; what it said is on stderr."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a peer ended with {self._process.wait()}: {self._process.args!r}")
        return line.strip()

    def ask(self, line: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self.read()


@contextmanager
def peer(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: IO[str] | None = None,
) -> Iterator[Peer]:
    """It ends when its input does. `log` takes its stderr, which is ours unless told."""
    process = subprocess.Popen(  # noqa: S603  # a program of ours, or one that we measure
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=env, cwd=cwd
    )
    try:
        yield Peer(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def module(name: str, *arguments: str) -> Iterator[Peer]:
    """A module of ours as a process of its own."""
    with peer([sys.executable, "-m", name, *arguments]) as started:
        yield started
