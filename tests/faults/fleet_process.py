"""One place in a fleet under test: a forwarder with its own settings and proxy before the table.

The place records what is done to its process, and which members its process has been; see `fleet_record.py`.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from forwarder.errors import LedgerUnavailable
from tests.faults import fleet_record as kinds
from tests.faults.fleet_duplicates import CONCURRENCY
from tests.faults.fleet_record import HEARTBEAT_SECONDS, Disturbance, Record
from tests.harness.dynamodb_faults import (
    LOSE_REPLY,
    LOSE_REQUEST,
    PASS,
    THROTTLED,
    Fault,
    Plan,
    Request,
    execute,
    seeded,
)
from tests.harness.dynamodb_proxy import DynamoProxy
from tests.harness.installation import Installation
from tests.harness.process import ForwarderProcess

TABLE_FAULTS: Final = {
    kinds.CUT_OFF: (1.0, LOSE_REQUEST),
    kinds.THROTTLED: (0.4, THROTTLED),
    kinds.LOST_REPLIES: (0.4, LOSE_REPLY),
}
"""The fault of each disturbance of the table, with its probability."""


@dataclass
class FleetProcess:
    """A place in the fleet. Its methods return at once, except `kill`."""

    name: str
    source: str
    """The `source` of its events, by which they are recognized."""
    installation: Installation
    proxy: DynamoProxy
    record: Record
    plan: Plan = execute
    """The faults of the table for this process while nothing else happens."""
    log_files: list[Path] = field(default_factory=list)
    exit_codes: list[int | None] = field(default_factory=list)
    is_busy: bool = False
    """Something happens to this place, and nothing else may."""
    restarts: int = 0
    """How often the process ended because the table could not be reached, and was started again."""
    _daemon: ForwarderProcess | None = None
    _is_terminated: bool = False
    _table_disturbance: Disturbance | None = None

    def __post_init__(self) -> None:
        self.proxy.on_reply = self.record.observe_reply
        self._use_plan(self.plan)

    # Disruptions.

    def start(self) -> None:
        self.record.run += 1
        self._daemon, self._is_terminated = self.installation.start(), False
        self.log_files.append(self._daemon.log_file)

    def kill(self) -> None:
        self.record.begin(kinds.KILLED)
        self._running.kill()
        self._daemon = None

    def pause(self) -> None:
        self.record.begin(kinds.PAUSED)
        self._running.send(signal.SIGSTOP)

    def resume(self) -> None:
        self._running.send(signal.SIGCONT)
        self.record.end(kinds.PAUSED)

    def restart_if_unavailable(self) -> None:
        """Start a process again that could not reach the table at its start, as a service manager does."""
        if self._daemon and not self._is_terminated and self._daemon.exit_code == LedgerUnavailable.exit_code:
            self.record.begin(kinds.ENDED)
            self.restarts += 1
            self.start()

    def terminate(self) -> None:
        self._is_terminated = True
        self.record.begin(kinds.STOPPED)
        self._running.send(signal.SIGTERM)

    def has_ended(self) -> bool:
        """Return whether the terminated process has ended. Its exit code is then kept.

        SIGTERM ends a process at once that has only just been started: it handles no signals yet, and did nothing.
        """
        if (code := self._running.exit_code) is None:
            return False
        if code != -signal.SIGTERM or self._running.has_started():
            self.exit_codes.append(code)
        self.record.end(kinds.STOPPED)
        self.record.begin(kinds.ENDED)
        self._daemon = None
        return True

    def disturb_table(self, kind: str, seed: int) -> None:
        """Give the process a table with the faults of one kind, until `reconnect`. Its first request has one."""
        disturbance, plan = self.record.begin(kind), seeded(seed, [TABLE_FAULTS[kind]])

        def counting_plan(request: Request) -> Fault:
            fault = plan(request) if disturbance.faults else TABLE_FAULTS[kind][1]
            disturbance.faults += fault is not PASS
            return fault

        self._table_disturbance = disturbance
        self._use_plan(counting_plan)

    def reconnect(self) -> None:
        self._use_plan(self.plan)
        if self._table_disturbance is not None:
            self.record.end(self._table_disturbance.kind)

    def close(self) -> None:
        if self._daemon is not None:
            self._daemon.kill()

    # Observations.

    @property
    def is_running(self) -> bool:
        return self._daemon is not None and self._daemon.is_running

    @property
    def is_member(self) -> bool:
        """Return whether the present process has written a heartbeat."""
        return self.is_running and self.record.has_heartbeat

    @property
    def has_table_faults(self) -> bool:
        """Return whether a request had a fault since the table was disturbed."""
        return self._table_disturbance is not None and self._table_disturbance.faults > 0

    def pid(self) -> int | None:
        return None if (daemon := self._daemon) is None else daemon.pid

    def lines(self) -> list[str]:
        """Return the lines of its logs. The last line of a killed process may be cut."""
        return [line for file in self.log_files for line in file.read_text(errors="replace").splitlines()]

    @property
    def _running(self) -> ForwarderProcess:
        if self._daemon is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._daemon

    def _use_plan(self, plan: Plan) -> None:
        def observe(request: Request) -> Fault:
            fault = plan(request)
            self.record.observe_arrival(request, fault)
            return fault

        self.proxy.plan = observe


def create_installation(
    directory: Path, *, alloy: str, bus: str, source: str, table_url: str, workflows: Sequence[str], max_interval: str
) -> Installation:
    """Return the installation of one place."""
    directory.mkdir()
    installation = Installation(
        directory,
        alloy=alloy,
        bus=bus,
        source={
            "workflows": list(workflows),
            "min_interval": "500ms",
            "max_interval": max_interval,
            "requests_per_second": 200,
            "timeout": "5s",
        },
        event={"source": source},
        # On a busy machine a reply may take seconds, and a time-out is a reason to send again that no disruption gives.
        destination={"timeout": "20s", "concurrency": CONCURRENCY},
        ledger={"url": table_url, "heartbeat_interval": f"{HEARTBEAT_SECONDS * 1000:.0f}ms"},
        run={"shutdown_grace": "10s", "log_format": "json"},
    )
    installation.create_vault()
    return installation
