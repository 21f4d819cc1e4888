"""Ports for listeners whose address a test must know before it starts them."""

import socket
from pathlib import Path
from secrets import randbelow
from typing import Final

LOWEST: Final = 11_000
"""Browsers refuse to open some ports below it."""

ATTEMPTS: Final = 1000

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port on which nothing listens.

    It is below those that Linux gives to outgoing connections and to listeners on port 0, of which the tests open many
    until the port is used.
    """
    end = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 0
    for _ in range(ATTEMPTS):
        wanted = LOWEST + randbelow(end - LOWEST) if end > LOWEST else 0
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
            try:
                listener.bind((host, wanted))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise RuntimeError("no port is free")
