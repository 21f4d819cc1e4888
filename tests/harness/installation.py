"""A forwarder's files on disk: settings, vault and ledger, its commands, and its daemon."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import tomlkit

from forwarder.ledger import Counters, SqliteLedger
from forwarder.settings import ConfigSource, load_local
from forwarder.vault import Vault, master_key
from tests.fakes.alloy import API_KEY
from tests.fakes.eventbridge import BUS, KEY, REGION
from tests.harness.fork_server import can_fork, fork_server
from tests.harness.process import ForwarderProcess

ROOT: Final = Path(__file__).parents[2]
FORWARDER: Final = "forwarder"
PROGRAM: Final = (sys.executable, "-m", FORWARDER)
MAX_COMMAND_SECONDS: Final = 60.0
CLIENT: Final = "FORWARDER_DESTINATION__CLIENT"  # set by a test that runs with either client of the bus
NO_ADDRESS: Final = "http://127.0.0.1:9"
"""A URL that refuses connections, for an installation that calls nobody."""

SECRETS: Final = {"alloy-api-key": API_KEY, "aws-access-key-id": KEY.id, "aws-secret-access-key": KEY.secret}


@dataclass(frozen=True)
class CommandResult:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def output(self) -> str:
        return self.out + self.err

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the log, which are JSON if stderr is not a terminal."""
        return [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]

    def json(self) -> Any:
        assert self.out.lstrip()[:1] in {"{", "["}, self
        return json.loads(self.out)


class Installation:
    """A settings file, and the vault and the ledger beside it, in one directory.

    `settings` is the content that the file should have. `change` edits it and writes the file; `write` may write
    any other text. `env` is the environment in addition to the bare minimum.
    """

    def __init__(
        self, directory: Path, *, alloy: str = NO_ADDRESS, bus: str = NO_ADDRESS, **sections: Mapping[str, Any]
    ) -> None:
        """Write the settings file. `sections` are added to the default settings."""
        self._set_paths(directory)
        defaults: dict[str, dict[str, Any]] = {
            "source": {
                "base_url": alloy,
                "workflows": ["w"],
                "start_from": "beginning",
                "min_interval": "100ms",
                "max_interval": "300ms",
                "requests_per_second": 500,
                "timeout": "2s",
            },
            "web": {"listen": ""},
            "destination": {"endpoint_url": bus, "timeout": "2s", "event_bus": BUS, "region": REGION},
        }
        names = dict.fromkeys([*defaults, *sections])
        self.settings: dict[str, Any] = {"enabled": True}
        self.settings |= {name: {**defaults.get(name, {}), **sections.get(name, {})} for name in names}
        self.change()

    @classmethod
    def at(cls, directory: Path) -> Self:
        """Return an installation that exists already."""
        installation = cls.__new__(cls)
        installation._set_paths(directory)  # noqa: SLF001  # a constructor
        return installation

    def _set_paths(self, directory: Path) -> None:
        self.directory = directory
        self.settings_file = directory / "forwarder.toml"
        self.ledger_file = directory / "forwarder.db"
        self.keys_file = directory / "forwarder.keys"
        self.master_key_file = directory / "forwarder.master-key"
        self.env: dict[str, str] = {}
        self._links = 0

    # Settings.

    def text(self, **top: Any) -> str:
        """Return the settings file. Its last line is required: no beginning of the file is valid settings, so a
        daemon that reads half of it does not call the real AWS.
        """
        settings = copy.deepcopy(self.settings) | top
        if (destination := settings.pop("destination", None)) is not None:
            if "region" in destination:
                destination["region"] = destination.pop("region")
            settings["destination"] = destination
        return tomlkit.dumps(settings)

    def change(self, section: str = "", **fields: object) -> None:
        """Set these fields and write the file. A value of None removes the field."""
        table = self.settings.setdefault(section, {}) if section else self.settings
        table |= fields
        for name in [name for name, value in table.items() if value is None]:
            del table[name]
        self.write(self.text())

    def write(self, text: str, how: str = "rename") -> None:
        """Write the file as people and programs do: by a rename, in place, or by a swap of a symbolic link."""
        match how:
            case "in place":
                self.settings_file.write_text(text)
            case "symlink":
                self._links += 1
                target = self.directory / f"settings-{self._links}.toml"
                link = self.directory / "forwarder.link"
                target.write_text(text)
                link.symlink_to(target)
                link.replace(self.settings_file)
            case _:
                fresh = self.settings_file.with_suffix(".fresh")
                fresh.write_text(text)
                fresh.replace(self.settings_file)

    # The vault.

    def create_vault(self, secrets: Mapping[str, str] = SECRETS) -> None:
        self.master_key_file.write_text(master_key.generate())
        self.master_key_file.chmod(0o600)
        vault = self.open_vault()
        for name, secret in secrets.items():
            vault.set(name, secret, datetime.now(UTC))

    def open_vault(self) -> Vault:
        """Raise VaultError if it cannot be read."""
        source = ConfigSource(self.settings_file, {})
        return Vault.open(source, load_local(source))

    # Commands and the daemon. `through` is a command that starts another one, with fewer rights than the tests have.

    def environment(self) -> dict[str, str]:
        """Return an environment without the AWS keys of the person who runs the tests, and with a wide terminal."""
        bare = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "LANG": "C.UTF-8", "COLUMNS": "160"}
        bare |= {name: value for name, value in os.environ.items() if name == CLIENT}
        return bare | {"AWS_EC2_METADATA_DISABLED": "true"} | self.env

    def run_command(
        self, *command: str, stdin: str = "", timeout: float = MAX_COMMAND_SECONDS, through: Sequence[str] = ()
    ) -> CommandResult:
        """Run `forwarder -c FILE COMMAND`."""
        return self._run(["-c", str(self.settings_file), *command], stdin, timeout, through)

    def run_program(self, *words: str, stdin: str = "", timeout: float = MAX_COMMAND_SECONDS) -> CommandResult:
        """Run `forwarder` with these words only."""
        return self._run(words, stdin, timeout)

    def _run(self, words: Sequence[str], stdin: str, timeout: float, through: Sequence[str] = ()) -> CommandResult:
        done = run_program([*through, *PROGRAM], words, stdin.encode(), timeout, self.environment(), self.directory)
        return CommandResult(done.returncode, text_of(done.stdout), text_of(done.stderr))

    def start(
        self,
        *options: str,
        module: str = FORWARDER,
        environ: Mapping[str, str] | None = None,
        through: Sequence[str] = (),
    ) -> ForwarderProcess:
        """Start `run` with these options, and do not wait for it. `module` is a variant of the program."""
        log_file = self.directory / f"log-{time.monotonic_ns()}.jsonl"
        words = ["-c", str(self.settings_file), "run", *options]
        environment = self.environment() | dict(environ or {})
        cwd = self.directory if module == FORWARDER else ROOT
        with log_file.open("wb") as log:
            if not through and can_fork(environment):
                with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
                    streams = nothing.fileno(), log.fileno(), log.fileno()
                    return ForwarderProcess(fork_server().start(module, words, streams, environment, cwd), log_file)
            process = subprocess.Popen(  # noqa: S603 - the program under test
                [*through, sys.executable, "-m", module, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=cwd,
            )
        return ForwarderProcess(process, log_file)

    def log_files(self) -> list[Path]:
        return sorted(self.directory.glob("log-*.jsonl"))

    # Results.

    def counters(self) -> dict[str, int]:
        """Return the counters of the ledger. They are read here: a command takes half a second of processor time."""
        return asdict(asyncio.run(self._load_counters())) if self.ledger_file.exists() else asdict(Counters())

    async def _load_counters(self) -> Counters:
        async with SqliteLedger(self.ledger_file) as ledger:
            return await ledger.counters()

    def dead_letters(self) -> list[Any]:
        return list(self.run_command("dead-letters", "list", "--json").json())


def run_program(
    program: Sequence[str], words: Sequence[str], stdin: bytes, timeout: float, env: Mapping[str, str], cwd: Path
) -> subprocess.CompletedProcess[bytes]:
    """Run the program with these words: as a fork if it is one module of Python and the environment allows it."""
    if len(program) != len(PROGRAM) or tuple(program[:2]) != PROGRAM[:2] or not can_fork(env):
        return subprocess.run(  # noqa: S603 - the program under test
            [*program, *words], input=stdin, capture_output=True, timeout=timeout, env=env, cwd=cwd, check=False
        )
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        process = fork_server().start(program[2], words, (given.fileno(), out.fileno(), err.fileno()), env, cwd)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
            process.wait()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(words, code, out.read(), err.read())


def text_of(output: bytes) -> str:
    """Decode the output. Each end of a line becomes a newline."""
    return io.TextIOWrapper(io.BytesIO(output), encoding="utf-8").read()
