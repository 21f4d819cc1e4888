"""The protocols of systemd: the notifications of sd_notify(3), and the priorities of log lines of sd-daemon(3).

Without systemd, nothing is sent, and lines have no priorities.
"""

import contextlib
import os
import re
import socket
import sys
import time
from collections.abc import Mapping
from typing import Self

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"

_INFO = 6
_PRIORITIES = {"debug": 7, "info": _INFO, "warning": 4, "error": 3, "critical": 2}

_LINE_START = re.compile(r"^(?!\Z)", re.MULTILINE)


def reloading() -> str:
    """Return the assignments that announce a reload. Units of `Type=notify-reload` require the time."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


def status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"


class ServiceManager:
    """The socket of systemd. `address` is a path, or `@` and an abstract name, or empty without systemd."""

    def __init__(self, address: str = "") -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        return cls(environ.get("NOTIFY_SOCKET", ""))

    def notify(self, *assignments: str) -> None:
        """Send assignments such as READY=1. This never waits and never fails."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_manager:
            to_manager.setblocking(False)
            to_manager.sendto("\n".join(assignments).encode(), self._address)


def prioritized(text: str, level: str) -> str:
    """Return a text for standard error, with a priority before each line if the journal reads it.

    The journal removes the priorities. Without them, `journalctl -p err` shows no line.
    """
    return _LINE_START.sub(f"<{_PRIORITIES.get(level, _INFO)}>", text) if _is_journal() else text


def _is_journal() -> bool:
    """Return whether standard error is a stream of the journal. A child inherits the variable with any stream."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):  # there is no standard error, or it is closed
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
