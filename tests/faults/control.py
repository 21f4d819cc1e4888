"""The control file, by which the driver changes the running process under test. It survives a SIGKILL."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Final

import msgspec

UNDER_TEST: Final = "tests.faults.process"
"""The module that runs the daemon under control of the file."""

CONTROL: Final = "SIMULATION_CONTROL"

MAX_WORK: Final = "SIMULATION_MAX_WORK"
"""The variable with the seconds, by the machine's clock, after which a loop without a heartbeat is stalled."""

POINTS: Final = (
    *("add_feeds:before", "add_feeds:after", "save_watched:before", "save_watched:after"),
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
"""Every point between two writes. `claim:after` precedes the publishing, and `settle:before` follows the response."""


class Instructions(msgspec.Struct, frozen=True):
    """The instructions: the offset of the clock in seconds, and the points at which to die and to hang, or ""."""

    jump: float = 0.0
    kill_point: str = ""
    hang_point: str = ""


class Driver:
    """The writer of the control file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._kill_points = file.with_suffix(".reached")
        self._kill_points.touch()
        self._instructions = Instructions()
        self._write()

    @property
    def jump(self) -> float:
        return self._instructions.jump

    @property
    def kill_point(self) -> str:
        return self._instructions.kill_point

    def set_clock(self, jump: float) -> None:
        self._instructions = msgspec.structs.replace(self._instructions, jump=jump)
        self._write()

    def arm(self, point: str) -> None:
        self._instructions = msgspec.structs.replace(self._instructions, kill_point=point)
        self._write()

    def hang(self, point: str) -> None:
        """Make every operation that reaches this point hang, until the next instructions."""
        self._instructions = msgspec.structs.replace(self._instructions, hang_point=point)
        self._write()

    def kill_points(self) -> list[str]:
        """Return the points at which the process died, in order."""
        return self._kill_points.read_text().split()

    def _write(self) -> None:
        fresh = self.file.with_suffix(".fresh")
        fresh.write_bytes(msgspec.json.encode(self._instructions))
        fresh.replace(self.file)


class Control:
    """The reader of the control file. Reading the instructions costs one stat while they are unchanged."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._version = (0, 0)
        self._instructions = Instructions()

    @property
    def instructions(self) -> Instructions:
        stat = self._file.stat()
        version = (stat.st_ino, stat.st_mtime_ns)
        if version != self._version:
            self._instructions, self._version = msgspec.json.decode(self._file.read_bytes(), type=Instructions), version
        return self._instructions

    def kill_self(self, point: str) -> None:
        """Record the point, and kill the process."""
        with self._file.with_suffix(".reached").open("a") as file:
            file.write(f"{point}\n")
        os.kill(os.getpid(), signal.SIGKILL)
