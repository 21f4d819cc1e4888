"""A daemon as a process: start, wait for a condition, read the log, stop, kill."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.harness.fork_server import ForkedProcess

MAX_WAIT_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.01


@dataclass(frozen=True)
class ForwarderProcess:
    """A running `forwarder run`. Leaving the context kills it if it still runs."""

    process: subprocess.Popen[bytes] | ForkedProcess
    log_file: Path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """Return the exit code, or minus the signal, or None while the process runs."""
        return self.process.poll()

    @property
    def is_running(self) -> bool:
        return self.exit_code is None

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="backslashreplace")

    def has_started(self) -> bool:
        return '"event": "started"' in self.log

    def has_logged(self, *words: str) -> bool:
        """Return whether one line of the log has all of these words."""
        return any(all(word in line for word in words) for line in self.log.splitlines())

    def wait_until(self, condition: Callable[[], object], *, within: float = MAX_WAIT_SECONDS) -> None:
        """Wait for the condition. Raise AssertionError with the log if the time is over or the process ends first."""
        if not eventually(condition, within=within, alive=lambda: self.is_running):
            state = "runs" if self.is_running else f"ended ({self.exit_code})"
            raise AssertionError(f"the daemon {state}; its log:\n{self.log[-6000:]}")

    def wait_for_log(self, *words: str, within: float = MAX_WAIT_SECONDS) -> None:
        """Wait for a line of the log that has all of these words."""
        self.wait_until(lambda: self.has_logged(*words), within=within)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, within: float = MAX_WAIT_SECONDS) -> int | None:
        """Send the signal and return the exit code, or None if the process does not end in time."""
        self.send(number)
        return self.wait(within=within)

    def wait(self, *, within: float) -> int | None:
        """Return the exit code, or None if the process does not end in time."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def eventually(
    condition: Callable[[], object], *, within: float = MAX_WAIT_SECONDS, alive: Callable[[], bool] = lambda: True
) -> bool:
    """Return whether the condition becomes true before the time is over and while `alive` returns true."""
    end = time.monotonic() + within
    while not (is_met := bool(condition())) and alive() and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    return is_met or bool(condition())


def never(condition: Callable[[], object], *, within: float) -> bool:
    """Return whether the condition stays false for the whole time."""
    return not eventually(condition, within=within)
