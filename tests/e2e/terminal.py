"""A command run at a pseudo-terminal, with typed input."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tests.harness.installation import PROGRAM, Installation

MAX_SECONDS: Final = 60.0


@dataclass(frozen=True)
class TerminalResult:
    """The exit code of a command and its whole output, including control sequences."""

    code: int
    screen: str


def run_at_terminal(
    installation: Installation, *command: str, prompt: str, answer: str, interrupt: Callable[[], bool] = lambda: False
) -> TerminalResult:
    """Run the command at a terminal. Type `answer` once when `prompt` is on the screen.

    Send one SIGINT, as Ctrl-C does, when `interrupt` returns True after the answer.
    """
    terminal, end = pty.openpty()
    with subprocess.Popen(  # noqa: S603 - the program under test
        [*PROGRAM, "-c", str(installation.settings_file), *command],
        stdin=end, stdout=end, stderr=end, env=installation.environment(), cwd=installation.directory,
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(end)
        screen, answered, interrupted = b"", False, False
        deadline = time.monotonic() + MAX_SECONDS
        while (output := _read_output(terminal)) is not None and time.monotonic() < deadline:
            screen += output
            if not answered and prompt.encode() in screen:
                os.write(terminal, answer.encode())
                answered = True
            if not interrupted and answered and interrupt():
                process.send_signal(signal.SIGINT)
                interrupted = True
        if time.monotonic() >= deadline:
            process.kill()
        code = process.wait(MAX_SECONDS)
    os.close(terminal)
    return TerminalResult(code, screen.decode(errors="replace"))


def _read_output(terminal: int) -> bytes | None:
    """Return the output of the next 50 ms, possibly empty, or None if the program has closed the terminal."""
    if not select.select([terminal], [], [], 0.05)[0]:
        return b""
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return None


@dataclass
class TerminalProcess:
    """A command that runs at a terminal. `screen` is all that was drawn so far."""

    process: subprocess.Popen[bytes]
    terminal: int
    screen: str = ""

    def wait_for(self, pattern: str) -> str:
        """Return what the first group of the pattern matches on the screen, once it does."""
        deadline = time.monotonic() + MAX_SECONDS
        while (found := re.search(pattern, self.screen)) is None:
            output = _read_output(self.terminal)
            assert output is not None, self.screen
            assert time.monotonic() < deadline, self.screen
            self.screen += output.decode(errors="replace")
        return found[1]

    def interrupt(self) -> int:
        """Interrupt it as Ctrl-C does, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        while (output := _read_output(self.terminal)) is not None:
            self.screen += output.decode(errors="replace")
        return self.process.wait(MAX_SECONDS)


@contextmanager
def terminal_process(installation: Installation, *command: str) -> Iterator[TerminalProcess]:
    """Start the command at a terminal. It is killed at the end of the block if it still runs."""
    terminal, end = pty.openpty()
    with subprocess.Popen(  # noqa: S603 - the program under test
        [*PROGRAM, "-c", str(installation.settings_file), *command],
        stdin=end, stdout=end, stderr=end, env=installation.environment(), cwd=installation.directory,
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(end)
        try:
            yield TerminalProcess(process, terminal)
        finally:
            process.kill()
            process.wait(MAX_SECONDS)
            os.close(terminal)
