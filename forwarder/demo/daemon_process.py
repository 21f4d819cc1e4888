"""The real forwarder, run by its command line in separate processes, with its files in one directory."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from forwarder.errors import ForwarderError

# The demo ignores the caller's variables for a forwarder, an AWS account or a proxy.
_REMOVED_PREFIXES = ("FORWARDER_", "AWS_", "WATCHDOG_")
_REMOVED_NAMES = {"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
_ISOLATED_AWS_VARIABLES = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
_MAX_COMMAND_SECONDS = 20.0
_MAX_STOP_SECONDS = 10.0


class DemoError(ForwarderError):
    """An error in the demo: a command failed, or an expected event did not happen."""


@dataclass(frozen=True, slots=True)
class Counters:
    """The counters of the ledger, as `forwarder status` prints them."""

    recorded: int
    pending: int
    sent: int
    dead: int


@dataclass(slots=True)
class ForwarderProcess:
    """A settings file, its keys, its ledger and at most one running daemon, all inside `directory`."""

    directory: Path
    _daemon: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def settings_file(self) -> Path:
        return self.directory / "forwarder.toml"

    @property
    def log_file(self) -> Path:
        return self.directory / "forwarder.log"

    def run_command(self, *arguments: str, stdin: str = "") -> str:
        """Run a command and return its output. Raise DemoError with its error message if it fails."""
        try:
            done = subprocess.run(  # noqa: S603 - this interpreter, with fixed arguments
                self._command(*arguments),
                input=stdin,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=_MAX_COMMAND_SECONDS,
                check=False,
                env=_environment(),
            )
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"forwarder {' '.join(arguments)} took longer than {_MAX_COMMAND_SECONDS:g} s") from error
        if done.returncode:
            message = done.stderr.strip() or done.stdout.strip()
            raise DemoError(f"forwarder {' '.join(arguments)} exited with {done.returncode}: {message}")
        return done.stdout

    def counters(self) -> Counters:
        counters = json.loads(self.run_command("status", "--json"))["counters"]
        return Counters(*(int(counters[name]) for name in Counters.__slots__))

    def write_settings(self, text: str) -> None:
        """Write a new file and rename it over the old one, as an editor does. The daemon never reads a partial file."""
        draft = self.settings_file.with_suffix(".toml.new")
        draft.write_text(text, encoding="utf-8")
        draft.replace(self.settings_file)

    def set_enabled(self, *, enabled: bool) -> None:
        """Change the `enabled` line of the settings file. Raise DemoError if the line does not have the other value."""
        lines = {True: "enabled = true\n", False: "enabled = false\n"}
        text = self.settings_file.read_text(encoding="utf-8")
        if lines[not enabled] not in text:
            raise DemoError(f"{self.settings_file} has no line {lines[not enabled].strip()!r}")
        self.write_settings(text.replace(lines[not enabled], lines[enabled], 1))

    def start(self) -> None:
        # The daemon has its own process group. Ctrl-C reaches only the demo, which then stops the daemon.
        with self.log_file.open("ab") as log:
            self._daemon = subprocess.Popen(  # noqa: S603 - this interpreter, with fixed arguments
                self._command("run"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                process_group=0,
            )

    def ensure_running(self) -> None:
        """Raise DemoError if the daemon has ended unexpectedly."""
        if (code := self.exit_code()) is not None:
            raise DemoError(f"the daemon ended unexpectedly with exit code {code}")

    def exit_code(self) -> int | None:
        """Return the exit code of a daemon that has ended unexpectedly, or None if it runs or was stopped.

        A second call returns None.
        """
        if self._daemon is None or self._daemon.poll() is None:
            return None
        code, self._daemon = self._daemon.returncode, None
        return code

    def kill(self) -> int:
        """Kill the daemon with SIGKILL, so that no handler runs and nothing is flushed. Return its process id."""
        self.ensure_running()
        if self._daemon is None:
            raise DemoError("there is no daemon to kill")
        daemon, self._daemon = self._daemon, None
        daemon.kill()
        daemon.wait()
        return daemon.pid

    def stop(self) -> tuple[int, float]:
        """Stop the daemon with SIGTERM, or with SIGKILL if it does not end. Return its exit code and the seconds."""
        if self._daemon is None:
            return 0, 0.0
        daemon, self._daemon = self._daemon, None
        started_at = time.monotonic()
        daemon.send_signal(signal.SIGTERM)
        try:
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(_MAX_STOP_SECONDS)
        finally:
            daemon.kill()  # has no effect if it has ended
            daemon.wait()
        return daemon.returncode, time.monotonic() - started_at

    def log_tail(self, lines: int = 15) -> list[str]:
        try:
            return self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        except OSError:
            return []

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "forwarder", "-c", str(self.settings_file), *arguments]


def shown_program() -> str:
    """Return the words with which a person starts this program in a shell.

    They are `forwarder` if PATH leads to the script that runs, or else its path, or the module if no script runs.
    """
    script = Path(sys.argv[0]).absolute()
    if script.name != "forwarder" or not script.is_file():
        return shlex.join([sys.executable, "-m", "forwarder"])
    found = shutil.which("forwarder")
    return "forwarder" if found and script.samefile(found) else shlex.quote(str(script))


def _environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(_REMOVED_PREFIXES) and name.upper() not in _REMOVED_NAMES
    }
    return kept | _ISOLATED_AWS_VARIABLES
