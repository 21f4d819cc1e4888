"""The forwarder between its two ends, as the driver holds them: what a step may do, and what is known afterwards."""

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
from tests.faults.crash import Crash, in_state, since_a_look
from tests.faults.environment import create_installation
from tests.faults.log_faults import faults_in, is_error_message
from tests.faults.workload import FEEDS, Workload
from tests.harness.installation import Installation
from tests.harness.process import ForwarderProcess, eventually

FACTOR: Final = 100.0

LONGEST_STEP: Final = 450.0
"""Simulated seconds in which delivery must be through: 300 after unknown outcomes, 60 of an entry, and the work."""

MARGIN: Final = 6.0
"""Seconds that the machine itself may take, a request that hangs included."""

LONGEST_TRUST: Final = 61.0
"""Simulated seconds after which the forwarder looks again whether the bus exists."""

BOOKED: Final = 0.5
"""Seconds of the machine's, in which an answer that is on its way has been booked."""

BUSES: Final = (BUS, "failures-too")

INVALID_SETTINGS: Final = 78

DOORS: Final = ("/metrics", "/livez", "/readyz", "/")

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
    in_doubt: list[range] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def patience(self) -> float:
        """Seconds in which whatever was held up must be through, once all is mended."""
        return self.sim.real(LONGEST_STEP) + MARGIN

    def problem(self, what: str) -> None:
        self.problems.append(f"after {self.sim.passed():.0f} s: {what}")

    # The process.

    def start(self) -> None:
        """With settings that are broken it does not; then they are mended."""
        if self.settings_broken:
            self._require_refusal()
            self.write_settings("rename")
        self.daemon = spawned(self.installation, self.sim, self.driver)
        self.counts["starts"] += 1
        if (
            not eventually(lambda: self.daemon.has_started() or self.daemon.exit_code is not None)
            or not self.daemon.has_started()
        ):
            self.problem(f"it does not start ({self.daemon.exit_code}): {self.daemon.log[-2000:]}")

    def _require_refusal(self) -> None:
        with spawned(self.installation, self.sim, self.driver) as daemon:
            code = daemon.wait(within=self.patience)
        told = daemon.log
        daemon.log_file.unlink()
        self.said.append(told)
        if code != INVALID_SETTINGS or not is_error_message(told):
            self.problem(f"with broken settings it ended with {code}: {told[-2000:]}")

    def stop(self) -> None:
        code = self.daemon.stop()
        if code != 0:
            self.problem(f"after SIGTERM it ended with {code}: {self.daemon.log[-2000:]}")
            self.daemon.kill()
        self.audit()

    def send(self, number: signal.Signals) -> None:
        self.daemon.send(number)

    def revive(self) -> None:
        """After a death by SIGKILL: see what it left behind, and start it again."""
        code = self.daemon.wait(within=self.patience)
        if code != -signal.SIGKILL:
            self.problem(f"it should have been killed and ended with {code}")
        self.driver.arm("")
        with ledgers.copied(self.installation.ledger_file) as ledger:
            if ledger is not None:
                self._require_balance(ledger)
                self.crashes.append(Crash.seen(ledger, self.bridge, self.is_taken_back))
        self.start()

    def look(self) -> None:
        """It runs, or it was killed at a point where it was meant to be."""
        if self.daemon.exit_code is None:
            return
        if self.daemon.exit_code == -signal.SIGKILL and self.driver.armed:
            self.revive()
            return
        self.problem(f"it ended by itself with {self.daemon.exit_code}: {self.daemon.log[-2000:]}")
        self.start()

    def run_command(self, *words: str, stdin: str = "") -> str:
        """What a verb prints, run beside the daemon."""
        try:
            done = self.installation.run_command(*words, stdin=stdin)
        except subprocess.TimeoutExpired:
            self.problem(f"{words} hangs")
            return ""
        self.said.append(done.out + done.err)
        if done.code:
            self.problem(f"{words} ended with {done.code}: {done.out}{done.err}")
        return done.out

    def visit(self) -> None:
        """What anybody on this machine may read of the daemon while it runs."""
        lines = [json.loads(line) for line in self.daemon.log.splitlines() if "web UI listening" in line]
        addresses = [line["address"] for line in lines if line.get("event") == "web UI listening"]
        for path in DOORS if addresses else ():
            # A daemon may end meanwhile: then there is nothing to read.
            with contextlib.suppress(httpx.TransportError):
                self.said.append(httpx.get(f"{addresses[-1]}{path}", timeout=MARGIN).text)
                self.counts["visits"] += 1

    # What is set, and set right again.

    def write_settings(self, how: str, **top: Any) -> None:
        self.installation.settings |= top
        self.installation.write(self.installation.text(), how)
        self.settings_broken = False

    @property
    def bus(self) -> str:
        """The one that the settings name."""
        return str(self.installation.settings["destination"]["event_bus"])

    def move_bus(self) -> None:
        """Another one is named from now on. What the one before dropped has to be missed all the same."""
        self.installation.settings["destination"]["event_bus"] = next(bus for bus in BUSES if bus != self.bus)
        self.write_settings("rename")

    def lose_bus(self) -> None:
        if self.bus in self.bridge.buses:
            self.bridge.buses.discard(self.bus)
            self.in_doubt.append(range(*since_a_look(self.bridge, self.bus)))

    def make_bus_missed(self) -> None:
        """What is published now is dropped, and what is published after the longest trust in the bus finds that out."""
        draw = Random(len(self.in_doubt))  # noqa: S311 - a seed is the point
        self.workload.fail(draw, 3)
        time.sleep(self.sim.real(LONGEST_TRUST))
        self.workload.fail(draw)

    def is_taken_back(self, request_index: int) -> bool:
        """Whether a request came after the last look before the bus was lost: what it brought may be owed again."""
        return any(request_index in requests for requests in self.in_doubt)

    def mend(self) -> None:
        """Everything that anybody could set right is set right. The clock stays as it is."""
        self.alloy.clear()
        self.bridge.clear()
        self.bridge.keys[KEY.id] = KEY
        self.bridge.denied.clear()
        if self.settings_broken or not self.installation.settings["enabled"]:
            self.write_settings("rename", enabled=True)
        if not set(BUSES) <= self.bridge.buses:
            self._restore_buses()

    def _restore_buses(self) -> None:
        """Not before they were missed: nobody could tell that a bus was away that is back when it is looked for."""
        if not self._is_missed():
            self.make_bus_missed()
            if not eventually(lambda: self._is_missed() or self.daemon.exit_code is not None, within=self.patience):
                self.problem("nobody misses the bus")
            if self.daemon.exit_code is not None:
                return
        self.bridge.buses |= set(BUSES)

    def _is_missed(self) -> bool:
        """Whether nothing that it dropped is taken for sent, nor will be: what is answered is booked within moments."""
        if not self._is_nothing_taken_for_sent():
            return False
        time.sleep(BOOKED)
        return self._is_nothing_taken_for_sent()

    def _is_nothing_taken_for_sent(self) -> bool:
        dropped = {event.detail["executionId"] for event in list(self.bridge.dropped)}
        delivered = {event.detail["executionId"] for event in list(self.bridge.delivered)}
        return not (dropped - delivered) & in_state(self.installation.ledger_file, SENT)

    # What the ledger says.

    def require_recovery(self) -> None:
        """What is owed goes out, without a restart."""
        self.visit()
        if not self.until_owed_nothing():
            self.problem(f"{self.books().pending} entries stay owed although all is well: {self.parts()}")

    def parts(self) -> dict[str, str]:
        """How each part does, by its own word; and each feed that cannot be read."""
        status = json.loads(self.run_command("status", "--json") or "{}")
        parts = {name: f"{part['state']} {part['reason']}".strip() for name, part in status["components"].items()}
        return parts | {feed["workflow_id"]: feed["error"] for feed in status["feeds"] if feed["error"]}

    def until_owed_nothing(self) -> bool:
        return eventually(lambda: self.books().pending == 0, within=self.patience)

    def books(self) -> Counters:
        return ledgers.books(self.installation.ledger_file)

    def feeds(self) -> list[FeedStatus]:
        return ledgers.feeds(self.installation.ledger_file)

    def audit(self) -> None:
        self._require_balance(self.installation.ledger_file)

    def _require_balance(self, ledger: Path) -> None:
        self.counts["audits"] += 1
        try:
            ledgers.audit(ledger)
        except ForwarderError as error:
            self.problem(f"the books: {error}")

    def log_faults(self) -> Sequence[str]:
        return [
            fault
            for log in self.installation.log_files()
            for fault in faults_in(log.read_text(errors="replace").splitlines())
        ]


@contextmanager
def start_simulation(place: Path, **api: Any) -> Iterator[SimulationEnvironment]:
    """`api` is what Alloy's documentation leaves open; see `DocumentedAlloyApi`."""
    sim = SimTime.begin(FACTOR)
    with FakeAlloy(now=sim.now, **api) as alloy, StrictEventBridge(buses=BUSES) as bridge:
        installation = create_installation(place, alloy=alloy.url, bus=bridge.url, **SOURCE)
        installation.change("web", listen="127.0.0.1:0")
        driver = Driver(place / "control")
        environment = SimulationEnvironment(
            sim, alloy, bridge, installation, driver, Workload(alloy.api), spawned(installation, sim, driver)
        )
        try:
            environment.counts["starts"] += 1
            environment.daemon.wait_until(environment.daemon.has_started)
            yield environment
        finally:
            environment.daemon.kill()


def spawned(installation: Installation, sim: SimTime, driver: Driver) -> ForwarderProcess:
    return installation.start(module=UNDER_TEST, environ=sim.environ() | {CONTROL: str(driver.file)})
