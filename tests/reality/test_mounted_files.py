"""A settings file that is mounted as a single file, as `docker run -v FILE:FILE` does it.

No container engine is needed: the mount namespace is the kernel's own.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.conftest import alloy, bus, home, sealed
from tests.e2e.harness import PROGRAM, Daemon, Home
from tests.reality.test_platforms import mounting

__all__ = ["alloy", "bus", "home", "sealed"]


def environment(home: Home) -> dict[str, str]:
    return home.environment() | {"PYTHONPATH": str(Path(__file__).parents[2])}


@contextlib.contextmanager
def in_container(home: Home, *command: str) -> Iterator[Daemon]:
    """Run a command that sees the settings file through a mount of that file alone."""
    mounted, log = home.place / "mounted.toml", home.place / "container.log"
    mounted.touch()
    script = f"mount --bind '{home.file}' '{mounted}' && exec {' '.join(PROGRAM)} -c '{mounted}' {' '.join(command)}"
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603  # ours
            ["unshare", "-m", "/bin/sh", "-c", script],  # noqa: S607
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=environment(home),
            cwd=home.place,
        )
    try:
        yield Daemon(process, log)
    finally:
        process.kill()
        process.wait()


@mounting
def test_file_replaced_outside_of_its_mount_is_named(home: Home) -> None:
    """Editors, sed -i and Ansible rename a new file over the old one, which stays in the container."""
    with in_container(home, "run") as daemon:
        daemon.logs("started")
        home.change(enabled=False)
        daemon.logs("mounted file out of date", "mounted.toml", "mount its folder")
        inside = ["nsenter", "-t", str(daemon.pid), "-m", *PROGRAM, "-c", str(home.place / "mounted.toml")]
        checked = subprocess.run(  # noqa: S603  # ours
            [*inside, "check"], capture_output=True, text=True, env=environment(home), cwd=home.place, check=False
        )
        assert "was replaced outside of this container" in checked.stdout
        assert daemon.alive


@mounting
def test_file_rewritten_in_place_is_taken_up(home: Home) -> None:
    with in_container(home, "run") as daemon:
        daemon.logs("started")
        home.file.write_text(home.file.read_text().replace("enabled = true", "enabled = false"))
        daemon.logs("settings reloaded", "false")
        assert "out of date" not in daemon.log


@mounting
def test_edit_of_a_single_mounted_file_says_why_not(home: Home) -> None:
    """A rename over a mount is EBUSY: nothing is changed, nothing is left behind."""
    before = home.file.read_bytes()
    with in_container(home, "disable") as daemon:
        daemon.until(lambda: "mount its folder" in daemon.log)
    assert home.file.read_bytes() == before
    assert not list(home.place.glob(".mounted.toml*"))
