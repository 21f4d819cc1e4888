"""The process under test of a simulation: its start and stop, its commands and outputs, and its ledger."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from forwarder.errors import ForwarderError, SettingsError
from forwarder.ledger import Counters, FeedStatus
from tests.faults import ledgers
from tests.faults.clock import SimTime
from tests.faults.control import CONTROL, UNDER_TEST, Driver
from tests.faults.log_faults import faults_in, is_error_message
from tests.harness.installation import Installation
from tests.harness.process import ForwarderProcess, eventually

MAX_DELIVERY_SECONDS: Final = 450.0
"""Simulated seconds in which delivery must complete: 300 after unknown outcomes, 60 of an entry, and the work."""

MARGIN_SECONDS: Final = 6.0
"""The real time that the machine may need, including a request that hangs."""

INVALID_SETTINGS: Final = 78

WEB_PATHS: Final = ("/metrics", "/livez", "/readyz", "/")


@dataclass(kw_only=True)
class SimulationProcess:
    """The process under test, with the problems and outputs that the driver has observed."""

    sim: SimTime
    installation: Installation
    driver: Driver
    daemon: ForwarderProcess
    settings_broken: bool = False
    problems: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def recovery_seconds(self) -> float:
        """The real time in which all delayed work must complete after a repair."""
        return self.sim.real_seconds(MAX_DELIVERY_SECONDS) + MARGIN_SECONDS

    def problem(self, what: str) -> None:
        self.problems.append(f"after {self.sim.elapsed():.0f} s: {what}")

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

    def run_command(self, *words: str, stdin: str = "") -> str:
        """Run a command beside the daemon, and return its standard output."""
        try:
            done = self.installation.run_command(*words, stdin=stdin)
        except subprocess.TimeoutExpired:
            self.problem(f"{words} hangs")
            return ""
        self.outputs.append(done.out + done.err)
        # `status` reports invalid settings if no process runs.
        allowed = {0, SettingsError.exit_code} if self.settings_broken and words[0] == "status" else {0}
        if done.code not in allowed:
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

    def write_settings(self, how: str, **top: Any) -> None:
        self.installation.settings |= top
        self.installation.write(self.installation.text(), how)
        self.settings_broken = False

    def component_states(self) -> dict[str, str]:
        """Return the reported state of each component, and the error of each feed that has one."""
        status = json.loads(self.run_command("status", "--json") or "{}")
        states = {name: f"{part['state']} {part['reason']}".strip() for name, part in status["components"].items()}
        return states | {feed["workflow_id"]: feed["error"] for feed in status["feeds"] if feed["error"]}

    def counters(self) -> Counters:
        return ledgers.counters(self.installation.ledger_file)

    def feeds(self) -> list[FeedStatus]:
        return ledgers.feeds(self.installation.ledger_file)

    def audit(self) -> None:
        self.require_balance(self.installation.ledger_file)

    def require_balance(self, ledger: Path) -> None:
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


def start_daemon(installation: Installation, sim: SimTime, driver: Driver) -> ForwarderProcess:
    return installation.start(module=UNDER_TEST, environ=sim.environ() | {CONTROL: str(driver.file)})
