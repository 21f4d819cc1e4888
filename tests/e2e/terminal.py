"""A command as a person at a terminal sees it, and what that person types."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.harness.installation import PROGRAM, Installation

DEADLINE_SECONDS: Final = 60.0


@dataclass(frozen=True)
class TerminalResult:
    """`screen` is all that was drawn, control sequences included."""

    code: int
    screen: str


def run_at_terminal(
    installation: Installation, *command: str, prompt: str, answer: str, interrupt: Callable[[], bool] = lambda: False
) -> TerminalResult:
    """Run the command at a terminal: answer once when `prompt` is on the screen, interrupt once as Ctrl-C does, if that
    is wanted.
    """
    terminal, end = pty.openpty()
    with subprocess.Popen(  # noqa: S603 - the program under test
        [*PROGRAM, "-c", str(installation.settings_file), *command],
        stdin=end, stdout=end, stderr=end, env=installation.environment(), cwd=installation.directory,
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(end)
        screen, answered, interrupted = b"", False, False
        over = time.monotonic() + DEADLINE_SECONDS
        while (drawn := _drawn(terminal)) is not None and time.monotonic() < over:
            screen += drawn
            if not answered and prompt.encode() in screen:
                os.write(terminal, answer.encode())
                answered = True
            if not interrupted and answered and interrupt():
                process.send_signal(signal.SIGINT)
                interrupted = True
        if time.monotonic() >= over:
            process.kill()
        code = process.wait(DEADLINE_SECONDS)
    os.close(terminal)
    return TerminalResult(code, screen.decode(errors="replace"))


def _drawn(terminal: int) -> bytes | None:
    """What was drawn within a moment, maybe nothing; None when the program is over."""
    if not select.select([terminal], [], [], 0.05)[0]:
        return b""
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return None
