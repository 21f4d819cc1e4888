"""The environment of a simulation: the process under test, both fakes, and the observations of the driver."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx

from forwarder.errors import ForwarderError
from forwarder.ledger import Counters, FeedStatus
from forwarder.ledger.sqlite.migrations import SENT
from tests.fakes.alloy import MIB, FakeAlloy
from tests.fakes.eventbridge import BUS, KEY, StrictEventBridge
from tests.faults import ledgers
from tests.faults.clock import SimTime
from tests.faults.control import CONTROL, UNDER_TEST, Driver
from tests.faults.crash import Crash, in_state, requests_since_check
from tests.faults.environment import create_installation
from tests.faults.log_faults import faults_in, is_error_message
from tests.faults.workload import FEEDS, Workload
from tests.harness.installation import Installation
from tests.harness.process import ForwarderProcess, eventually

SPEED: Final = 100.0

MAX_DELIVERY_SECONDS: Final = 450.0
"""Simulated seconds in which delivery must complete: 300 after unknown outcomes, 60 of an entry, and the work."""

MARGIN_SECONDS: Final = 6.0
"""The real time that the machine may need, including a request that hangs."""

BUS_CHECK_SECONDS: Final = 61.0
"""Simulated seconds after which the forwarder checks again that the bus exists."""

SETTLE_SECONDS: Final = 0.5
"""The real time in which a response in flight is settled."""

BUSES: Final = (BUS, "failures-too")

INVALID_SETTINGS: Final = 78

WEB_PATHS: Final = ("/metrics", "/livez", "/readyz", "/")

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


@dataclass
class SimulationEnvironment:
    sim: SimTime
    alloy: FakeAlloy
    bridge: StrictEventBridge
    installation: Installation
    driver: Driver
    workload: Workload
    daemon: ForwarderProcess
    settings_broken: bool = False
    problems: list[str] = field(default_factory=list)
    crashes: list[Crash] = field(default_factory=list)
    unverified_requests: list[range] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def recovery_seconds(self) -> float:
        """The real time in which all delayed work must complete after a repair."""
        return self.sim.real_seconds(MAX_DELIVERY_SECONDS) + MARGIN_SECONDS

    def problem(self, what: str) -> None:
        self.problems.append(f"after {self.sim.elapsed():.0f} s: {what}")

    # The process.

    def start(self) -> None:
        """Start the process. With invalid settings, require its refusal first, and write valid ones."""
        if self.settings_broken:
            self._require_refusal()
            self.write_settings("rename")
        self.daemon = start_daemon(self.installation, self.sim, self.driver)
        self.counts["starts"] += 1
        if (
            not eventually(lambda: self.daemon.has_started() or self.daemon.exit_code is not None)
            or not self.daemon.has_started()
        ):
            self.problem(f"the process does not start ({self.daemon.exit_code}): {self.daemon.log[-2000:]}")

    def _require_refusal(self) -> None:
        with start_daemon(self.installation, self.sim, self.driver) as daemon:
            code = daemon.wait(within=self.recovery_seconds)
        log = daemon.log
        daemon.log_file.unlink()
        self.outputs.append(log)
        if code != INVALID_SETTINGS or not is_error_message(log):
            self.problem(f"the process with invalid settings exits with {code}: {log[-2000:]}")

    def stop(self) -> None:
        code = self.daemon.stop()
        if code != 0:
            self.problem(f"the process exits with {code} after SIGTERM: {self.daemon.log[-2000:]}")
            self.daemon.kill()
        self.audit()

    def send(self, number: signal.Signals) -> None:
        self.daemon.send(number)

    def restart_after_kill(self) -> None:
        """Record the state that a SIGKILL left, and start the process again."""
        code = self.daemon.wait(within=self.recovery_seconds)
        if code != -signal.SIGKILL:
            self.problem(f"the process exits with {code} instead of SIGKILL")
        self.driver.arm("")
        with ledgers.copy_ledger(self.installation.ledger_file) as ledger:
            if ledger is not None:
                self._require_balance(ledger)
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

    def run_command(self, *words: str, stdin: str = "") -> str:
        """Run a command beside the daemon, and return its standard output."""
        try:
            done = self.installation.run_command(*words, stdin=stdin)
        except subprocess.TimeoutExpired:
            self.problem(f"{words} hangs")
            return ""
        self.outputs.append(done.out + done.err)
        if done.code:
            self.problem(f"{words} exits with {done.code}: {done.out}{done.err}")
        return done.out

    def request_web_pages(self) -> None:
        """Read everything that anyone on this machine may read from the running daemon."""
        lines = [json.loads(line) for line in self.daemon.log.splitlines() if "web UI listening" in line]
        addresses = [line["address"] for line in lines if line.get("event") == "web UI listening"]
        for path in WEB_PATHS if addresses else ():
            # The daemon may have exited.
            with contextlib.suppress(httpx.TransportError):
                self.outputs.append(httpx.get(f"{addresses[-1]}{path}", timeout=MARGIN_SECONDS).text)
                self.counts["web requests"] += 1

    # The settings, the bus, and their repair.

    def write_settings(self, how: str, **top: Any) -> None:
        self.installation.settings |= top
        self.installation.write(self.installation.text(), how)
        self.settings_broken = False

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

    # The state in the ledger.

    def require_recovery(self) -> None:
        """Require that all pending entries are sent without a restart."""
        self.request_web_pages()
        if not self.wait_until_delivered():
            self.problem(f"{self.counters().pending} entries stay pending after the repair: {self.component_states()}")

    def component_states(self) -> dict[str, str]:
        """Return the reported state of each component, and the error of each feed that has one."""
        status = json.loads(self.run_command("status", "--json") or "{}")
        component_states = {
            name: f"{part['state']} {part['reason']}".strip() for name, part in status["components"].items()
        }
        return component_states | {feed["workflow_id"]: feed["error"] for feed in status["feeds"] if feed["error"]}

    def wait_until_delivered(self) -> bool:
        return eventually(lambda: self.counters().pending == 0, within=self.recovery_seconds)

    def counters(self) -> Counters:
        return ledgers.counters(self.installation.ledger_file)

    def feeds(self) -> list[FeedStatus]:
        return ledgers.feeds(self.installation.ledger_file)

    def audit(self) -> None:
        self._require_balance(self.installation.ledger_file)

    def _require_balance(self, ledger: Path) -> None:
        self.counts["audits"] += 1
        try:
            ledgers.audit(ledger)
        except ForwarderError as error:
            self.problem(f"audit: {error}")

    def log_faults(self) -> Sequence[str]:
        return [
            fault
            for log in self.installation.log_files()
            for fault in faults_in(log.read_text(errors="replace").splitlines())
        ]


@contextmanager
def start_simulation(directory: Path, **api: Any) -> Iterator[SimulationEnvironment]:
    """Start a simulation. `api` has the options that Alloy's documentation leaves open; see `DocumentedAlloyApi`."""
    sim = SimTime.start(SPEED)
    with FakeAlloy(now=sim.now, **api) as alloy, StrictEventBridge(buses=BUSES) as bridge:
        installation = create_installation(directory, alloy=alloy.url, bus=bridge.url, **SOURCE)
        installation.change("web", listen="127.0.0.1:0")
        driver = Driver(directory / "control")
        environment = SimulationEnvironment(
            sim, alloy, bridge, installation, driver, Workload(alloy.api), start_daemon(installation, sim, driver)
        )
        try:
            environment.counts["starts"] += 1
            environment.daemon.wait_until(environment.daemon.has_started)
            yield environment
        finally:
            environment.daemon.kill()


def start_daemon(installation: Installation, sim: SimTime, driver: Driver) -> ForwarderProcess:
    return installation.start(module=UNDER_TEST, environ=sim.environ() | {CONTROL: str(driver.file)})
