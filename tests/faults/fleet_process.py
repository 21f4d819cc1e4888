"""One place in a fleet under test: a forwarder with its own settings and proxy before the table.

The place keeps when its process was killed, paused or stopped, and which members its process has been. A duplicate is
explained by the end of the member that published it.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from forwarder.errors import LedgerUnavailable
from forwarder.ledger.dynamodb.schema import LEDGER, MEMBERS
from tests.harness.dynamodb_faults import LOSE_REQUEST, THROTTLED, Fault, Plan, Request, execute, seeded
from tests.harness.dynamodb_proxy import DynamoProxy
from tests.harness.installation import Installation
from tests.harness.process import ForwarderProcess

HEARTBEAT_SECONDS: Final = 0.4
CONCURRENCY: Final = 4
"""The PutEvents requests that a process has in flight."""

KILLED, PAUSED, STOPPED, CUT_OFF, TAKEN_OVER = "killed", "paused", "stopped", "cut off", "taken over"

TAKEN_OVER_LINE: Final = "taken over by another forwarder, joining again"

STARTED, ALIVE = "started", ""


@dataclass(frozen=True, slots=True)
class Membership:
    """A member that the process of a place has been. Times are seconds since 1970."""

    id: str
    joined_at: float


@dataclass
class FleetProcess:
    """A place in the fleet. Its methods return at once, except `kill`."""

    name: str
    source: str
    """The `source` of its events, by which they are recognized."""
    installation: Installation
    proxy: DynamoProxy
    plan: Plan = execute
    """The faults of the table for this process while nothing else happens."""
    memberships: list[Membership] = field(default_factory=list)
    log_files: list[Path] = field(default_factory=list)
    exit_codes: list[int | None] = field(default_factory=list)
    is_busy: bool = False
    """Something happens to this place, and nothing else may."""
    restarts: int = 0
    """How often the process ended because the table could not be reached, and was started again."""
    _happened: list[tuple[float, str]] = field(default_factory=list)
    _daemon: ForwarderProcess | None = None
    _is_terminated: bool = False

    def __post_init__(self) -> None:
        self.use_plan(self.plan)

    # Disruptions.

    def start(self) -> None:
        self._daemon, self._is_terminated = self.installation.start(), False
        self.log_files.append(self._daemon.log_file)
        self._note(STARTED)

    def kill(self) -> None:
        self._note(KILLED)
        self._running.kill()
        self._daemon = None

    def pause(self) -> None:
        self._note(PAUSED)
        self._running.send(signal.SIGSTOP)

    def resume(self) -> None:
        self._running.send(signal.SIGCONT)
        self._note(PAUSED)

    def restart_if_unavailable(self) -> None:
        """Start a process again that could not reach the table at its start, as a service manager does."""
        if self._daemon and not self._is_terminated and self._daemon.exit_code == LedgerUnavailable.exit_code:
            self.restarts += 1
            self.start()

    def terminate(self) -> None:
        self._is_terminated = True
        self._note(STOPPED)
        self._running.send(signal.SIGTERM)

    def has_ended(self) -> bool:
        """Return whether the terminated process has ended. Its exit code is then kept.

        SIGTERM ends a process at once that has only just been started: it handles no signals yet, and did nothing.
        """
        if (code := self._running.exit_code) is None:
            return False
        if code != -signal.SIGTERM or self._running.has_started():
            self.exit_codes.append(code)
        self._daemon = None
        return True

    def throttle(self, seed: int) -> None:
        self.use_plan(seeded(seed, ((0.4, THROTTLED),)))

    def cut_off(self) -> None:
        self._note(CUT_OFF)
        self.use_plan(lambda _: LOSE_REQUEST)

    def reconnect(self) -> None:
        self.use_plan(self.plan)
        self._note(CUT_OFF)

    def use_plan(self, plan: Plan) -> None:
        def observe(request: Request) -> Fault:
            self._observe(request)
            return plan(request)

        self.proxy.plan = observe

    def close(self) -> None:
        if self._daemon is not None:
            self._daemon.kill()

    @property
    def is_running(self) -> bool:
        return self._daemon is not None and self._daemon.is_running

    # Observations.

    def lines(self) -> list[str]:
        """Return the lines of its logs. The last line of a killed process may be cut."""
        return [line for file in self.log_files for line in file.read_text(errors="replace").splitlines()]

    def end_of(self, member: str) -> str:
        """Return what ended a member: the most violent of the events before the next member of this place joined."""
        ids = [each.id for each in self.memberships]
        number = ids.index(member)
        begins = self.memberships[number].joined_at
        ends = self.memberships[number + 1].joined_at if number + 1 < len(ids) else time.time()
        kinds = {kind for at, kind in self._happened if begins <= at <= ends}
        for kind in (KILLED, STOPPED, PAUSED, CUT_OFF):
            if kind in kinds:
                return kind
        return TAKEN_OVER if self._has_logged_take_over(member) else ALIVE

    def count(self, kind: str) -> int:
        return sum(each == kind for _, each in self._happened)

    @property
    def _running(self) -> ForwarderProcess:
        if self._daemon is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._daemon

    def _note(self, kind: str) -> None:
        self._happened.append((time.time(), kind))

    def _observe(self, request: Request) -> None:
        """Keep the member that a request adds to the fleet."""
        if request.operation != "PutItem" or not request.writes(MEMBERS):
            return
        item = request.values["Item"]
        member = item["s"]["S"]
        if item["p"]["S"] == MEMBERS and member != LEDGER.s and member not in [each.id for each in self.memberships]:
            self.memberships.append(Membership(member, time.time()))

    def _has_logged_take_over(self, member: str) -> bool:
        return any(TAKEN_OVER_LINE in line and fields_of(line).get("member") == member for line in self.lines())


def fields_of(line: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


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
