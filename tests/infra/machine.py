"""A temporary machine with a running systemd: the root file system of this machine under an overlay in memory.

systemd-nspawn boots it in a separate mount namespace, so that its mounts end with it. Its network is loopback alone.
Every wait has a deadline.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BOOT_SECONDS: Final = 60.0
POWEROFF_SECONDS: Final = 20.0
COMMAND_SECONDS: Final = 90.0
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PYTHON_CHECK: Final = (
    "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11) or sys.prefix != sys.base_prefix)"
)
TOOLS: Final = {
    "systemd-nspawn": "systemd-container",
    "dbus-daemon": "dbus",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}

BOOT: Final = """
set -eu
mount -t tmpfs tmpfs "$1"
mkdir -p "$1/upper/etc/systemd/system" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
: > "$1/upper/etc/machine-id"
# The services of the machine that runs the tests must not start, and the network is never online here.
for unit in multi-user.target.wants timers.target.wants sysinit.target.wants network-online.target.wants; do
  rm -rf "$1/root/etc/systemd/system/$unit"
done
ln -s /dev/null "$1/root/etc/systemd/system/systemd-networkd-wait-online.service"
folder=$1
shift
exec systemd-nspawn -D "$folder/root" --register=no --keep-unit --private-network --console=pipe "$@" -b
"""


def missing_tools() -> str:
    """Return the reason why no machine can be booted here, or an empty text."""
    if os.geteuid() != 0:
        return "it needs root"
    for tool, package in TOOLS.items():
        if shutil.which(tool, path=PATH) is None:
            return f"{tool} is not installed (Debian's package {package})"
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:  # noqa: PLW1510, S607  # constant
        return "mounting is not permitted here"
    if system_python() is None:
        return "the system has no Python 3.11 with venv (Debian's package python3-venv)"
    return ""


def system_python() -> str | None:
    """Return the Python of the machine, which is outside of home folders, because the unit cannot read those."""
    python = shutil.which("python3", path=PATH)
    usable = python and subprocess.run([python, "-IBc", PYTHON_CHECK], capture_output=True).returncode == 0  # noqa: PLW1510, S603  # constant
    return python if usable else None


@dataclass(frozen=True)
class CommandResult:
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.out}{self.err}"


class Machine:
    def __init__(self, process: subprocess.Popen[bytes], console: Path) -> None:
        self._process, self._console = process, console
        self.leader = 0

    def __call__(
        self, *arguments: str, stdin: str = "", seconds: float = COMMAND_SECONDS, env: dict[str, str] | None = None
    ) -> CommandResult:
        """Run a command in the machine, as root."""
        done = subprocess.run(  # noqa: S603  # arguments of a test
            [*self.inside("-a"), "env", "-i", f"PATH={PATH}", "HOME=/root", *_pairs(env), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return CommandResult(done.returncode, done.stdout, done.stderr)

    def inside(self, *namespaces: str) -> list[str]:
        return ["nsenter", "-t", str(self.leader), *namespaces]

    def run_checked(self, *arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> str:
        """Run a command that has to succeed, and return its output."""
        result = self(*arguments, stdin=stdin, env=env)
        assert result.code == 0, f"{' '.join(arguments)}: {result}\n{self.journal()}"
        return result.out

    def write(self, file: str, text: str) -> None:
        """Write a file. An existing file keeps its owner and mode."""
        self.run_checked("sh", "-c", 'mkdir -p "$(dirname "$0")" && cat > "$0"', file, stdin=text)

    def journal(self) -> str:
        return self("journalctl", "--no-pager", "-n", "80", "-o", "cat", "-u", "forwarder").out

    def wait_until(self, true: Callable[[], object], what: str, *, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"not within {seconds} s: {what}\n{self.journal()}"
            time.sleep(0.1)

    def _boot(self) -> None:
        end = time.monotonic() + BOOT_SECONDS
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        while time.monotonic() < end and self._process.poll() is None:
            for child in children.read_text().split():
                self.leader = int(child)
                if self("systemctl", "is-system-running").out.strip() in {"running", "degraded"}:
                    return
            time.sleep(0.1)
        raise AssertionError(f"the machine does not boot:\n{self._console.read_text(errors='replace')}")

    def _power_off(self) -> None:
        """Shut the machine down, and kill its first process if that takes too long, which ends all others."""
        if self.leader and self._process.poll() is None:
            self("systemctl", "poweroff", "--no-block")
        try:
            self._process.wait(POWEROFF_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def booted_machine(folder: Path, *, read_only: dict[Path, str]) -> Iterator[Machine]:
    """Boot a machine in this empty folder. `read_only` maps folders of this machine to their paths in the new one."""
    console = folder.with_name(f"{folder.name}.console")
    binds = [f"--bind-ro={here}:{there}" for here, there in read_only.items()]
    with console.open("wb") as sink:
        # The signal ends the machine if the test run is killed.
        process = subprocess.Popen(  # noqa: S603  # a constant command
            ["setpriv", "--pdeathsig", "KILL", "unshare", "-m", "/bin/sh", "-c", BOOT, "boot", str(folder), *binds],  # noqa: S607
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    machine = Machine(process, console)
    try:
        machine._boot()  # noqa: SLF001  # of this module
        yield machine
    finally:
        machine._power_off()  # noqa: SLF001  # of this module


def _pairs(env: dict[str, str] | None) -> list[str]:
    return [f"{name}={value}" for name, value in (env or {}).items()]
