"""The real forwarder as a person uses it: its command line, in processes of their own, in one directory."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from forwarder.errors import ForwarderError

# Whatever the caller has set for a forwarder, an AWS account or a proxy of theirs has no say in the demo.
_FOREIGN_PREFIXES = ("FORWARDER_", "AWS_", "WATCHDOG_")
_FOREIGN_NAMES = {"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
_NO_AMBIENT_AWS = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
_VERB_SECONDS = 20.0
_STOP_SECONDS = 10.0


class StoryError(ForwarderError):
    """The demo did not go as it should."""


@dataclass(frozen=True, slots=True)
class Books:
    """What `forwarder status` says about the ledger."""

    recorded: int
    owed: int
    sent: int
    dead: int


@dataclass(slots=True)
class Forwarder:
    """A settings file, its keys, its ledger and at most one running daemon, all inside `directory`."""

    directory: Path
    _daemon: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def settings_file(self) -> Path:
        return self.directory / "forwarder.toml"

    @property
    def log_file(self) -> Path:
        return self.directory / "forwarder.log"

    def verb(self, *words: str, stdin: str = "") -> str:
        """What the verb prints. Raises StoryError with its complaint when it fails."""
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter, our own words
                self._command(*words),
                input=stdin,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=_VERB_SECONDS,
                check=False,
                env=_environment(),
            )
        except subprocess.TimeoutExpired as error:
            raise StoryError(f"forwarder {' '.join(words)} took longer than {_VERB_SECONDS:g} s") from error
        if done.returncode:
            complaint = done.stderr.strip() or done.stdout.strip()
            raise StoryError(f"forwarder {' '.join(words)} exited with {done.returncode}: {complaint}")
        return done.stdout

    def books(self) -> Books:
        books = json.loads(self.verb("status", "--json"))["books"]
        return Books(*(int(books[name]) for name in Books.__slots__))

    def write_settings(self, text: str) -> None:
        """Beside the file, then over it, as an editor saves: the daemon never sees half a file."""
        draft = self.settings_file.with_suffix(".toml.new")
        draft.write_text(text, encoding="utf-8")
        draft.replace(self.settings_file)

    def switch(self, *, on: bool) -> None:
        """Edit the `enabled` line of the settings file, and nothing else."""
        lines = {True: "enabled = true\n", False: "enabled = false\n"}
        text = self.settings_file.read_text(encoding="utf-8")
        if lines[not on] not in text:
            raise StoryError(f"{self.settings_file} has no line {lines[not on].strip()!r}")
        self.write_settings(text.replace(lines[not on], lines[on], 1))

    def start(self) -> None:
        # A group of its own: Ctrl-C reaches the demo alone, which then stops the daemon in its own order.
        with self.log_file.open("ab") as log:
            self._daemon = subprocess.Popen(  # noqa: S603 - our own interpreter, our own words
                self._command("run"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                process_group=0,
            )

    def ensure_running(self) -> None:
        """Raises StoryError when the daemon has ended by itself."""
        if (code := self.ended()) is not None:
            raise StoryError(f"the daemon ended by itself with exit code {code}")

    def ended(self) -> int | None:
        """The exit code of a daemon that has ended by itself, once; else None."""
        if self._daemon is None or self._daemon.poll() is None:
            return None
        code, self._daemon = self._daemon.returncode, None
        return code

    def kill(self) -> int:
        """SIGKILL: no handler runs, nothing is flushed. The process id that was."""
        self.ensure_running()
        if self._daemon is None:
            raise StoryError("there is no daemon to kill")
        daemon, self._daemon = self._daemon, None
        daemon.kill()
        daemon.wait()
        return daemon.pid

    def stop(self) -> tuple[int, float]:
        """SIGTERM, and its exit code and the seconds it took; SIGKILL when it does not go."""
        if self._daemon is None:
            return 0, 0.0
        daemon, self._daemon = self._daemon, None
        began = time.monotonic()
        daemon.send_signal(signal.SIGTERM)
        try:
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(_STOP_SECONDS)
        finally:
            daemon.kill()  # does nothing to one that has gone
            daemon.wait()
        return daemon.returncode, time.monotonic() - began

    def log_tail(self, lines: int = 15) -> list[str]:
        try:
            return self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        except OSError:
            return []

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "forwarder", "-c", str(self.settings_file), *words]


def _environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(_FOREIGN_PREFIXES) and name.upper() not in _FOREIGN_NAMES
    }
    return kept | _NO_AMBIENT_AWS
