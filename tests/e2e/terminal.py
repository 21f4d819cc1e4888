"""A verb as a person at a terminal sees it, and what that person types."""

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

from tests.e2e.harness import PROGRAM, Home

DEADLINE: Final = 60.0


@dataclass(frozen=True)
class Seen:
    """`screen` is all that was drawn, control sequences included."""

    code: int
    screen: str


def at_terminal(home: Home, *verb: str, asked: str, answer: str, interrupt: Callable[[], bool] = lambda: False) -> Seen:
    """The verb, answered once when `asked` stands on the screen, and interrupted once as Ctrl-C does it, when that is
    wanted.
    """
    terminal, end = pty.openpty()
    with subprocess.Popen(  # noqa: S603 - the program under test
        [*PROGRAM, "-c", str(home.file), *verb],
        stdin=end, stdout=end, stderr=end, env=home.environment(), cwd=home.place, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(end)
        screen, answered, interrupted = b"", False, False
        over = time.monotonic() + DEADLINE
        while (drawn := _drawn(terminal)) is not None and time.monotonic() < over:
            screen += drawn
            if not answered and asked.encode() in screen:
                os.write(terminal, answer.encode())
                answered = True
            if not interrupted and answered and interrupt():
                process.send_signal(signal.SIGINT)
                interrupted = True
        if time.monotonic() >= over:
            process.kill()
        code = process.wait(DEADLINE)
    os.close(terminal)
    return Seen(code, screen.decode(errors="replace"))


def _drawn(terminal: int) -> bytes | None:
    """What was drawn within a moment, maybe nothing; None when the program is over."""
    if not select.select([terminal], [], [], 0.05)[0]:
        return b""
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return None
