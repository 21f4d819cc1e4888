"""The stream of the log: standard error, written without ever waiting for its reader.

A reader that has stopped (a hung log driver, a pager, a terminal after Ctrl-S) leaves its pipe full, and a write to a
full pipe waits for as long as the reader does. The event loop must not wait with it.
"""

import os
import select
import sys
import threading
import time
from collections import deque

import structlog

log = structlog.get_logger("log")

MAX_BUFFERED_BYTES = 1024 * 1024
"""Size of the lines that are kept for a slow reader. Later lines are dropped and counted."""

MAX_PIECE_BYTES = select.PIPE_BUF
"""A pipe that is ready accepts as much as this at once: pipe(7), "PIPE_BUF"."""

MAX_WAIT_SECONDS = 1.0
"""Time between two attempts to write kept lines, if the reader does not go on before."""

MAX_FINISH_SECONDS = 1.0
"""Time that a process which ends gives its reader for the kept lines."""


class LogStream:
    """A text stream whose texts go to standard error with each `flush`. It never waits and never raises."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def write(self, text: str) -> int:
        self._texts.append(text)
        return len(text)

    def flush(self) -> None:
        line = "".join(self._texts).encode("utf-8", errors="replace")
        self._texts.clear()
        if line:
            _writer.send(line)


def send(text: str) -> None:
    """Write a text to standard error, behind the lines before it, without waiting."""
    _writer.send(text.encode("utf-8", errors="replace"))


def finish(seconds: float = MAX_FINISH_SECONDS) -> None:
    """Wait at most this time for the reader of the kept lines, before the process ends."""
    end = time.monotonic() + seconds
    while _writer.write_buffered() and (left := end - time.monotonic()) > 0:
        _is_ready(left)


class _Writer:
    """The lines that standard error does not accept yet. A thread writes them as soon as it does."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._buffered: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._dropped = 0
        self._is_draining = False

    def send(self, line: bytes) -> None:
        with self._lock:
            rest = line if self._buffered else _write_available(line)
            if not rest:
                return
            if rest == line and self._buffered_bytes + len(line) > MAX_BUFFERED_BYTES:
                self._dropped += 1
                return
            self._buffered.append(rest)
            self._buffered_bytes += len(rest)
            if not self._is_draining:
                try:
                    threading.Thread(target=self._drain, name="log", daemon=True).start()
                    self._is_draining = True
                except RuntimeError:  # no thread can be started now: the next line tries again
                    return

    def write_buffered(self) -> bool:
        """Write what is accepted now. Return whether lines are left."""
        with self._lock:
            while self._buffered:
                line = self._buffered.popleft()
                rest = _write_available(line)
                self._buffered_bytes -= len(line) - len(rest)
                if rest:
                    self._buffered.appendleft(rest)
                    return True
        return False

    def _drain(self) -> None:
        while True:
            _is_ready(MAX_WAIT_SECONDS)
            with self._lock:
                if self.write_buffered():
                    continue
                self._is_draining = False
                dropped, self._dropped = self._dropped, 0
            if dropped:
                log.warning("log lines dropped", lines=dropped, reason="nobody read standard error")
            return


_writer = _Writer()


def _write_available(data: bytes) -> bytes:
    """Write as much as standard error accepts without waiting. Return the rest; nothing if it cannot be written."""
    try:
        descriptor = sys.stderr.fileno()
        while data and _is_ready(0):
            data = data[os.write(descriptor, data[:MAX_PIECE_BYTES]) :]
    except BlockingIOError:
        return data
    except BrokenPipeError:
        # Nobody will read again. What else is in a buffer must not spoil the exit code at the end.
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, descriptor)
        os.close(devnull)
        return b""
    except (OSError, ValueError):  # a full disk, or a stream that is closed
        return b""
    return data


def _is_ready(seconds: float) -> bool:
    """Wait at most this time for standard error to accept bytes. Return whether a write would not wait."""
    poll = select.poll()
    poll.register(sys.stderr.fileno(), select.POLLOUT)
    return bool(poll.poll(seconds * 1000))
