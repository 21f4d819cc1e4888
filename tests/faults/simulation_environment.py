"""The environment of a simulation: the process under test, both fakes, and their faults and repair."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from forwarder.ledger.sqlite.migrations import SENT
from tests.fakes.alloy import MIB, FakeAlloy
from tests.fakes.eventbridge import BUS, KEY, StrictEventBridge
from tests.faults import ledgers
from tests.faults.clock import SimTime
from tests.faults.control import Driver
from tests.faults.crash import Crash, in_state, requests_since_check
from tests.faults.environment import create_installation
from tests.faults.simulation_process import SimulationProcess, start_daemon
from tests.faults.workload import FEEDS, Workload
from tests.harness.process import eventually

SPEED: Final = 100.0

BUS_CHECK_SECONDS: Final = 61.0
"""Simulated seconds after which the forwarder checks again that the bus exists."""

SETTLE_SECONDS: Final = 0.5
"""The real time in which a response in flight is settled."""

BUSES: Final = (BUS, "failures-too")

SOURCE: Final = {
    "workflows": FEEDS,
    "min_interval": "10s",
    "max_interval": "1m",
    "full_scan_interval": "5m",
    "requests_per_second": 4,
    "timeout": "1s",
    "max_body_bytes": 4 * MIB,
    "discover_interval": "5m",
    "discover": False,
    "page_size": 30,
    "overlap": "10m",
    "concurrency": 8,
}


@dataclass(kw_only=True)
class SimulationEnvironment(SimulationProcess):
    """The process under test with both fakes, their repair, and the state after crashes."""

    alloy: FakeAlloy
    bridge: StrictEventBridge
    workload: Workload
    crashes: list[Crash] = field(default_factory=list)
    unverified_requests: list[range] = field(default_factory=list)

    def restart_after_kill(self) -> None:
        """Record the state that a SIGKILL left, and start the process again."""
        code = self.daemon.wait(within=self.recovery_seconds)
        if code != -signal.SIGKILL:
            self.problem(f"the process exits with {code} instead of SIGKILL")
        self.driver.arm("")
        with ledgers.copy_ledger(self.installation.ledger_file) as ledger:
            if ledger is not None:
                self.require_balance(ledger)
                self.crashes.append(Crash.inspect(ledger, self.bridge, self.may_be_requeued))
        self.start()

    def require_running(self) -> None:
        """Require that the process runs, and restart it after an instructed kill."""
        if self.daemon.exit_code is None:
            return
        if self.daemon.exit_code == -signal.SIGKILL and self.driver.kill_point:
            self.restart_after_kill()
            return
        self.problem(f"the process exits unexpectedly with {self.daemon.exit_code}: {self.daemon.log[-2000:]}")
        self.start()

    @property
    def bus(self) -> str:
        """The bus in the settings."""
        return str(self.installation.settings["destination"]["event_bus"])

    def change_bus(self) -> None:
        """Name another bus in the settings. Events that the previous one dropped must still be requeued."""
        self.installation.settings["destination"]["event_bus"] = next(bus for bus in BUSES if bus != self.bus)
        self.write_settings("rename")

    def delete_bus(self) -> None:
        if self.bus in self.bridge.buses:
            self.bridge.buses.discard(self.bus)
            self.unverified_requests.append(range(*requests_since_check(self.bridge, self.bus)))

    def trigger_bus_check(self) -> None:
        """Publish events that the missing bus drops, and more after the check interval, which trigger the check."""
        draw = Random(len(self.unverified_requests))  # noqa: S311 - a seed is the point
        self.workload.fail(draw, 3)
        time.sleep(self.sim.real_seconds(BUS_CHECK_SECONDS))
        self.workload.fail(draw)

    def may_be_requeued(self, request_index: int) -> bool:
        """Return whether a request followed the last check of a deleted bus, so that its events may be requeued."""
        return any(request_index in requests for requests in self.unverified_requests)

    def repair(self) -> None:
        """Repair everything that a person could repair. The clock stays as it is."""
        self.alloy.clear()
        self.bridge.clear()
        self.bridge.keys[KEY.id] = KEY
        self.bridge.denied.clear()
        if self.settings_broken or not self.installation.settings["enabled"]:
            self.write_settings("rename", enabled=True)
        if not set(BUSES) <= self.bridge.buses:
            self._restore_buses()

    def _restore_buses(self) -> None:
        """Create the missing buses again after the dropped events are requeued. No later check can detect the loss."""
        if not self._is_requeued():
            self.trigger_bus_check()
            if not eventually(
                lambda: self._is_requeued() or self.daemon.exit_code is not None, within=self.recovery_seconds
            ):
                self.problem("the missing bus is not detected")
            if self.daemon.exit_code is not None:
                return
        self.bridge.buses |= set(BUSES)

    def _is_requeued(self) -> bool:
        """Return whether no dropped event has the state sent, now and after the settlement of responses in flight."""
        if not self._is_no_dropped_event_sent():
            return False
        time.sleep(SETTLE_SECONDS)
        return self._is_no_dropped_event_sent()

    def _is_no_dropped_event_sent(self) -> bool:
        dropped = {event.detail["executionId"] for event in list(self.bridge.dropped)}
        delivered = {event.detail["executionId"] for event in list(self.bridge.delivered)}
        return not (dropped - delivered) & in_state(self.installation.ledger_file, SENT)

    def require_recovery(self) -> None:
        """Require that all pending entries are sent without a restart."""
        self.request_web_pages()
        if not self.wait_until_delivered():
            self.problem(f"{self.counters().pending} entries stay pending after the repair: {self.component_states()}")

    def wait_until_delivered(self) -> bool:
        return eventually(lambda: self.counters().pending == 0, within=self.recovery_seconds)


@contextmanager
def start_simulation(directory: Path, **api: Any) -> Iterator[SimulationEnvironment]:
    """Start a simulation. `api` has the options that Alloy's documentation leaves open; see `DocumentedAlloyApi`."""
    sim = SimTime.start(SPEED)
    with FakeAlloy(now=sim.now, **api) as alloy, StrictEventBridge(buses=BUSES) as bridge:
        installation = create_installation(directory, alloy=alloy.url, bus=bridge.url, **SOURCE)
        installation.change("web", listen="127.0.0.1:0")
        driver = Driver(directory / "control")
        environment = SimulationEnvironment(
            sim=sim,
            alloy=alloy,
            bridge=bridge,
            installation=installation,
            driver=driver,
            workload=Workload(alloy.api),
            daemon=start_daemon(installation, sim, driver),
        )
        try:
            environment.counts["starts"] += 1
            environment.daemon.wait_until(environment.daemon.has_started)
            yield environment
        finally:
            environment.daemon.kill()
