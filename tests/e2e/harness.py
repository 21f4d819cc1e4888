"""A forwarder to test from the outside: a home on disk, its commands as processes, the daemon as a process.

Nothing is imported from the program but its models of the logs API. Every wait is for a condition, with a
deadline.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import tomlkit

from forwarder.demo.sample_data import Outcome, execution
from tests.fakes.alloy import FakeAlloy
from tests.fakes.bus_faults import Fault
from tests.fakes.eventbridge import BUS, REGION, StrictEventBridge, operation_of
from tests.fakes.wire import Request

PROGRAM: Final = (sys.executable, "-m", "forwarder")
COMMAND_TIMEOUT_SECONDS: Final = 60.0
DEADLINE_SECONDS: Final = 20.0
CLIENT: Final = "FORWARDER_DESTINATION__CLIENT"  # set by a test that runs with either client of the bus
SEALED: Final = ("forwarder.keys", "forwarder.master-key")


@dataclass(frozen=True)
class CommandResult:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def output(self) -> str:
        return self.out + self.err

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the log, which are JSON wherever there is no terminal."""
        return [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]

    def json(self) -> Any:
        assert self.out.lstrip()[:1] in {"{", "["}, self
        return json.loads(self.out)


class Home:
    """A settings file, the keys and the ledger beside it, in a directory of their own.

    `settings` is written anew, by rename, with each `change`. `env` is the environment beyond the bare minimum.
    """

    def __init__(self, place: Path, *, alloy: str, bus: str) -> None:
        self.place = place
        self.file = place / "forwarder.toml"
        self.env: dict[str, str] = {}
        self.settings: dict[str, Any] = {
            "enabled": True,
            "source": {
                "base_url": alloy,
                "workflows": ["w"],
                "start_from": "beginning",
                "min_interval": "100ms",
                "max_interval": "300ms",
                "requests_per_second": 500,
                "timeout": "2s",
            },
            "destination": {"event_bus": BUS, "region": REGION, "endpoint_url": bus, "timeout": "2s"},
            "web": {"listen": ""},
        }
        self.change()

    def change(self, section: str = "", **fields: object) -> None:
        """Set these fields; `None` takes one out."""
        table = self.settings.setdefault(section, {}) if section else self.settings
        table |= fields
        for name in [name for name, value in table.items() if value is None]:
            del table[name]
        self.write(tomlkit.dumps(self.settings))

    def write(self, text: str) -> None:
        fresh = self.file.with_suffix(".fresh")
        fresh.write_text(text)
        fresh.rename(self.file)

    def copy_keys(self, sealed: Path) -> None:
        """Take the sealed keys and the master key of another home."""
        for name in SEALED:
            shutil.copy2(sealed / name, self.place / name)

    def environment(self) -> dict[str, str]:
        """No AWS key of whoever runs the tests, no network to ask for one, a wide terminal."""
        bare = {"PATH": os.environ["PATH"], "HOME": str(self.place), "LANG": "C.UTF-8", "COLUMNS": "160"}
        bare |= {name: value for name, value in os.environ.items() if name == CLIENT}
        return bare | {"AWS_EC2_METADATA_DISABLED": "true"} | self.env

    def __call__(self, *command: str, stdin: str = "", timeout: float = COMMAND_TIMEOUT_SECONDS) -> CommandResult:
        """Run the command on this settings file."""
        return self.run_command("-c", str(self.file), *command, stdin=stdin, timeout=timeout)

    def run_command(self, *words: str, stdin: str = "", timeout: float = COMMAND_TIMEOUT_SECONDS) -> CommandResult:
        """The bare command with these words."""
        ended = subprocess.run(  # noqa: S603 - the program under test
            [*PROGRAM, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment(),
            cwd=self.place,
            check=False,
        )
        return CommandResult(ended.returncode, ended.stdout, ended.stderr)

    def counters(self) -> Any:
        return self("status", "--json").json()["counters"]

    def dead_letters(self) -> list[Any]:
        return list(self("dead-letters", "list", "--json").json())

    @contextlib.contextmanager
    def daemon(self) -> Iterator[Daemon]:
        """`run`, started and not waited for; killed at the end if it still runs."""
        log = self.place / f"daemon-{time.monotonic_ns()}.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(  # noqa: S603 - the program under test
                [*PROGRAM, "-c", str(self.file), "run"],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=self.environment(),
                cwd=self.place,
            )
        daemon = Daemon(process, log)
        try:
            yield daemon
        finally:
            process.kill()
            process.wait()


class Daemon:
    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log
        self.pid = process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="backslashreplace")

    def until(self, condition: Callable[[], object], *, within: float = DEADLINE_SECONDS) -> None:
        """Wait for the condition; fail with the log when it does not come, or the daemon ends first."""
        if not eventually(condition, within=within, alive=lambda: self.alive):
            raise AssertionError(f"{'still runs' if self.alive else 'ended'}; its log:\n{self.log}")

    def logs(self, *words: str, within: float = DEADLINE_SECONDS) -> None:
        """Wait for a line of the log with all of these words."""
        self.until(lambda: any(all(word in line for word in words) for line in self.log.splitlines()), within=within)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.send(number)
        return self._process.wait(DEADLINE_SECONDS)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def eventually(
    condition: Callable[[], object], *, within: float = DEADLINE_SECONDS, alive: Callable[[], bool] = lambda: True
) -> bool:
    """Look again and again until it is so, or the time is over, or nothing lives to bring it about; whether it came."""
    end = time.monotonic() + within
    while not (is_met := bool(condition())) and alive() and time.monotonic() < end:
        time.sleep(0.02)
    return is_met or bool(condition())


def never(condition: Callable[[], object], *, within: float) -> bool:
    """Whether it did not come to be in all this time: the one thing that can only be waited out."""
    return not eventually(condition, within=within)


def fail(
    alloy: FakeAlloy,
    *ids: str,
    workflow: str = "w",
    outcome: Outcome = "failed-status",
    ago: float = 60,
    **options: Any,
) -> None:
    """List executions that failed so many seconds ago, each a little later than the one before."""
    for number, id_ in enumerate(ids):
        started = alloy.api.now() - timedelta(seconds=ago) + timedelta(milliseconds=number)
        alloy.api.add(workflow, execution(outcome, id=id_, started=started, **options))


def numbered(count: int, prefix: str = "x") -> list[str]:
    return [f"{prefix}{number:03}" for number in range(count)]


def sent(bus: StrictEventBridge) -> list[str]:
    """The executionIds that reached the bus, sorted: a duplicate shows."""
    return sorted(event.detail["executionId"] for event in list(bus.delivered))


def detail(bus: StrictEventBridge, id_: str) -> Any:
    """The detail of the one event for this execution."""
    (event,) = [event for event in bus.delivered if event.detail["executionId"] == id_]
    return event.detail


def polls(alloy: FakeAlloy, workflow: str = "w") -> int:
    """How often the logs of the workflow were asked for."""
    return sum(request.path.endswith(f"/{workflow}/logs") for request in list(alloy.requests))


def pages(alloy: FakeAlloy, workflow: str = "w") -> list[dict[str, str]]:
    """The queries of the readings of the workflow, in order."""
    return [request.query for request in list(alloy.requests) if request.path.endswith(f"/{workflow}/logs")]


def publishing(fault: Fault) -> Callable[[Request], Fault | None]:
    """A rule for the bus: strike each `PutEvents`, and nothing else."""
    return lambda request: fault if operation_of(request) == "PutEvents" else None


def watermark(home: Home, workflow: str = "w") -> str | None:
    """How far the readings of the workflow have come, as `status` tells it."""
    feeds = home("status", "--json").json()["feeds"]
    marks: list[str | None] = [feed["watermark"] for feed in feeds if feed["workflow_id"] == workflow]
    return marks[0] if marks else None
