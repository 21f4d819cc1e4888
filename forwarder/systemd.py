"""The notifications to systemd, by the protocol of sd_notify(3). Without systemd, nothing is sent."""

import contextlib
import socket
import time
from collections.abc import Mapping
from typing import Self

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


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
