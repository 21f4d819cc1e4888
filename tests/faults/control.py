"""What the driver tells the process under test while it runs: a file, since nothing else outlives a SIGKILL."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Final

import msgspec

UNDER_TEST: Final = "tests.faults.process"
"""The module that runs the daemon on these orders."""

CONTROL: Final = "SIMULATION_CONTROL"

WORK: Final = "SIMULATION_LONGEST_WORK"
"""Seconds, of the machine's clock, after which a loop hangs that was not heard of."""

POINTS: Final = (
    *("add_feeds:before", "add_feeds:after"),
    *("record:before", "record:during", "record:after"),
    *("checkpoint:before", "checkpoint:during", "checkpoint:after"),
    *("claim:after", "settle:before", "settle:during", "settle:after"),
    *("save_bus_verified:before", "save_bus_verified:after", "requeue:before", "requeue:after"),
    *(
        "save_switch:before",
        "save_switch:after",
        "save_daemon_status:before",
        "save_daemon_status:after",
        "apply_retention:before",
        "apply_retention:after",
    ),
)
"""Every step between two writes. `claim:after` is before a request is published, `settle:before` after its answer."""


class Orders(msgspec.Struct, frozen=True):
    """`jump` is in seconds; `point` is where to die, and `stuck` where to hang for ever, or empty."""

    jump: float = 0.0
    point: str = ""
    stuck: str = ""


class Driver:
    """The driver's end."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._reached = file.with_suffix(".reached")
        self._reached.touch()
        self._orders = Orders()
        self._write()

    @property
    def jump(self) -> float:
        return self._orders.jump

    @property
    def armed(self) -> str:
        return self._orders.point

    def set_clock(self, jump: float) -> None:
        self._orders = msgspec.structs.replace(self._orders, jump=jump)
        self._write()

    def arm(self, point: str) -> None:
        self._orders = msgspec.structs.replace(self._orders, point=point)
        self._write()

    def hang(self, point: str) -> None:
        """What comes to this point never goes on, until another is told."""
        self._orders = msgspec.structs.replace(self._orders, stuck=point)
        self._write()

    def reached(self) -> list[str]:
        """The points where the process died, in order."""
        return self._reached.read_text().split()

    def _write(self) -> None:
        fresh = self.file.with_suffix(".fresh")
        fresh.write_bytes(msgspec.json.encode(self._orders))
        fresh.replace(self.file)


class Control:
    """The process's end. A look costs one stat."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen = (0, 0)
        self._orders = Orders()

    @property
    def orders(self) -> Orders:
        stat = self._file.stat()
        seen = (stat.st_ino, stat.st_mtime_ns)
        if seen != self._seen:
            self._orders, self._seen = msgspec.json.decode(self._file.read_bytes(), type=Orders), seen
        return self._orders

    def die(self, point: str) -> None:
        """Leave word of where, and die without any."""
        with self._file.with_suffix(".reached").open("a") as file:
            file.write(f"{point}\n")
        os.kill(os.getpid(), signal.SIGKILL)
