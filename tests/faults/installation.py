"""A forwarder's home on disk: settings, vault and ledger; its verbs, and its daemon as a process."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import tomlkit

from forwarder.settings import ConfigSource, load_local
from forwarder.vault import Vault, master_key
from tests.fakes.alloy import API_KEY
from tests.fakes.eventbridge import BUS, KEY, REGION

ROOT: Final = Path(__file__).parents[2]
FORWARDER: Final = "forwarder"
UNDER_TEST: Final = "tests.faults.process"
DEADLINE: Final = 30.0
SECRETS: Final = {"alloy-api-key": API_KEY, "aws-access-key-id": KEY.id, "aws-secret-access-key": KEY.secret}

NO_EVENTS: Final = frozenset({"loop failed", "loop stalled", "poll failed", "request failed"})
"""What the log calls a fault of the forwarder's own."""


class Home:
    """`settings` is what the file should say; `write` may make it say something else."""

    def __init__(self, place: Path, *, alloy: str, bus: str, **source: Any) -> None:
        self.settle(place)
        self.settings: dict[str, Any] = {
            "enabled": True,
            "source": {"base_url": alloy, "workflows": ["w-1"], "start_from": "beginning", **source},
            "run": {"shutdown_grace": "5s", "log_format": "json"},
            "web": {"listen": ""},
            "ledger": {},
            "event": {},
            "destination": {"endpoint_url": bus, "timeout": "3s", "concurrency": 4, "event_bus": BUS, "region": REGION},
        }
        self._links = 0
        self.write(self.text())
        self._seal()

    @classmethod
    def at(cls, place: Path) -> Self:
        """One that is there already."""
        home = cls.__new__(cls)
        home.settle(place)
        return home

    def settle(self, place: Path) -> None:
        self.place = place
        self.file = place / "forwarder.toml"
        self.ledger = place / "forwarder.db"
        self.master_key = place / "forwarder.master-key"

    def _seal(self) -> None:
        self.master_key.write_text(master_key.generate())
        self.master_key.chmod(0o600)
        vault = self.vault()
        for name, secret in SECRETS.items():
            vault.set(name, secret, datetime.now(UTC))

    def vault(self) -> Vault:
        """Opened anew. Raises VaultError."""
        place = ConfigSource(self.file, {})
        return Vault.open(place, load_local(place))

    def text(self, **top: Any) -> str:
        """The settings file. Its last line is required: no beginning of the file is a valid one, and so the daemon
        never goes by half of it, in search of the real AWS.
        """
        settings = copy.deepcopy(self.settings) | top
        destination = settings.pop("destination")
        region = destination.pop("region")
        return tomlkit.dumps({**settings, "destination": {**destination, "region": region}})

    def change(self, section: str = "", **fields: Any) -> None:
        table = self.settings[section] if section else self.settings
        table |= fields
        self.write(self.text())

    def write(self, text: str, how: str = "rename") -> None:
        """As people and programs write: beside and over it, in place, or beside it under a link that is swapped."""
        match how:
            case "in place":
                self.file.write_text(text)
            case "symlink":
                self._links += 1
                target, link = self.place / f"settings-{self._links}.toml", self.place / "forwarder.link"
                target.write_text(text)
                link.symlink_to(target)
                link.replace(self.file)
            case _:
                fresh = self.file.with_suffix(".fresh")
                fresh.write_text(text)
                fresh.replace(self.file)

    def environ(self, extra: Mapping[str, str]) -> dict[str, str]:
        """No AWS key of whoever runs the tests, and no network to ask for one."""
        bare = {"PATH": os.environ["PATH"], "HOME": str(self.place), "LANG": "C.UTF-8", "NO_COLOR": "1"}
        nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        return bare | nowhere | {"AWS_EC2_METADATA_DISABLED": "true"} | dict(extra)

    # `through` is a command that starts another, with less than we may ourselves.

    def run_command(
        self, *words: str, stdin: str = "", through: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - the program under test
            [*through, sys.executable, "-m", FORWARDER, "-c", str(self.file), *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            env=self.environ({}),
            cwd=ROOT,
            check=False,
        )

    def start(
        self, *, module: str = FORWARDER, environ: Mapping[str, str] | None = None, through: Sequence[str] = ()
    ) -> Daemon:
        log = self.place / f"log-{time.monotonic_ns()}.jsonl"
        with log.open("wb") as sink:
            process = subprocess.Popen(  # noqa: S603 - the program under test
                [*through, sys.executable, "-m", module, "-c", str(self.file), "run"],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=self.environ(environ or {}),
                cwd=ROOT,
            )
        return Daemon(process, log)

    def logs(self) -> list[Path]:
        return sorted(self.place.glob("log-*.jsonl"))


@dataclass(frozen=True)
class Daemon:
    """`forwarder run`. Left as a context, it is killed if it still runs."""

    process: subprocess.Popen[bytes]
    log: Path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def ended(self) -> int | None:
        """The exit code, or minus the signal; None while it runs."""
        return self.process.poll()

    def started(self) -> bool:
        return '"event": "started"' in self.log.read_text(errors="replace")

    def until(self, true: Callable[[], object], *, within: float = DEADLINE) -> None:
        """Wait for the condition; fail with the log when it does not come, or the daemon ends first."""
        if not eventually(lambda: true() or self.ended is not None, within=within) or not true():
            told = self.log.read_text(errors="replace")[-6000:]
            raise AssertionError(f"the daemon {'runs' if self.ended is None else f'ended ({self.ended})'}:\n{told}")

    def says(self, *words: str) -> bool:
        """Whether a line of the log holds all of these words."""
        lines = self.log.read_text(errors="replace").splitlines()
        return any(all(word in line for word in words) for line in lines)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, *, within: float = DEADLINE) -> int | None:
        """SIGTERM, and the exit code; None where it did not go."""
        self.send(signal.SIGTERM)
        return self.wait(within=within)

    def wait(self, *, within: float) -> int | None:
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def eventually(true: Callable[[], object], *, within: float = DEADLINE) -> bool:
    """Look again and again until it is so, or until the time is over; whether it came."""
    end = time.monotonic() + within
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def faults_in(lines: Sequence[str]) -> Iterator[str]:
    """Lines of a log that tell of a fault of the forwarder's own: a traceback, or what is no line of the log."""
    for line in lines:
        try:
            told = json.loads(line)
        except json.JSONDecodeError:
            yield line
            continue
        if "exception" in told or told["event"] in NO_EVENTS:
            yield line


def is_complaint(text: str) -> bool:
    """What a start that is refused says: what is wrong, and how to mend it."""
    lines = text.splitlines()
    return [line[:6] for line in lines] in (["error:"], ["error:", "hint: "])
