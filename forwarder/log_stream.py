"""The stream of the log: standard error, written without waiting for its reader.

If a reader stops (a hung log driver, a pager, a terminal after Ctrl-S), its pipe fills up. A write to a full pipe
blocks until the reader continues, and the event loop must not be blocked.
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
"""The total size of the lines that are buffered for a slow reader. Further lines are dropped and counted."""

MAX_PIECE_BYTES = select.PIPE_BUF
"""The number of bytes that a ready pipe accepts at once; see pipe(7), "PIPE_BUF"."""

MAX_WAIT_SECONDS = 1.0
"""The longest time between two attempts to write buffered lines."""

MAX_FINISH_SECONDS = 1.0
"""The time that the reader has for the buffered lines when the process ends."""


class LogStream:
    """A text stream that writes to standard error at each `flush`. It never waits and never raises."""

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
    """Write a text to standard error, after the buffered lines, without waiting."""
    _writer.send(text.encode("utf-8", errors="replace"))


def finish(seconds: float = MAX_FINISH_SECONDS) -> None:
    """Write the buffered lines. Wait at most `seconds` for the reader, and leave the rest unwritten."""
    end = time.monotonic() + seconds
    while _writer.write_buffered() and (left := end - time.monotonic()) > 0:
        _is_ready(left)


class _Writer:
    """The lines that standard error does not accept yet. A thread writes them when it does."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._buffered: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._dropped = 0
        self._is_draining = False

    def send(self, line: bytes) -> None:
        """Write a line now, or buffer it if standard error does not accept it. Drop it if the buffer is full."""
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
                except RuntimeError:  # no thread can be started now; the next line tries again
                    return

    def write_buffered(self) -> bool:
        """Write the lines that standard error accepts now. Return whether lines are left."""
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
                log.warning("log lines dropped", lines=dropped, reason="standard error was not read")
            return


_writer = _Writer()


def _write_available(data: bytes) -> bytes:
    """Write as much as standard error accepts without waiting, and return the rest.

    Return nothing after an error: the data is lost then.
    """
    try:
        descriptor = sys.stderr.fileno()
        while data and _is_ready(0):
            data = data[os.write(descriptor, data[:MAX_PIECE_BYTES]) :]
    except BlockingIOError:
        return data
    except BrokenPipeError:
        # The reader is gone. Python would exit with 120 if it could not flush other buffers to the same pipe.
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, descriptor)
        os.close(devnull)
        return b""
    except (OSError, ValueError):  # a full disk, or a stream that is closed
        return b""
    return data


def _is_ready(seconds: float) -> bool:
    """Wait at most `seconds` for standard error to accept bytes. Return whether it accepts them now."""
    poll = select.poll()
    poll.register(sys.stderr.fileno(), select.POLLOUT)
    return bool(poll.poll(seconds * 1000))
