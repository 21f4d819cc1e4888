"""A settings file that is mounted as a single file, as by `docker run -v FILE:FILE`.

No container engine is needed: the mount namespace is the kernel's own.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.conftest import alloy, bus, installation, vault_secrets
from tests.harness.installation import PROGRAM, Installation
from tests.harness.process import ForwarderProcess
from tests.reality.test_platforms import mounting

__all__ = ["alloy", "bus", "installation", "vault_secrets"]


def environment(installation: Installation) -> dict[str, str]:
    return installation.environment() | {"PYTHONPATH": str(Path(__file__).parents[2])}


@contextlib.contextmanager
def in_container(installation: Installation, *command: str) -> Iterator[ForwarderProcess]:
    """Run a command that sees the settings file through a mount of that file alone."""
    mounted, log = installation.directory / "mounted.toml", installation.directory / "container.log"
    mounted.touch()
    program = f"{' '.join(PROGRAM)} -c '{mounted}' {' '.join(command)}"
    script = f"mount --bind '{installation.settings_file}' '{mounted}' && exec {program}"
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603  # ours
            ["unshare", "-m", "/bin/sh", "-c", script],  # noqa: S607
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=environment(installation),
            cwd=installation.directory,
        )
    try:
        yield ForwarderProcess(process, log)
    finally:
        process.kill()
        process.wait()


@mounting
def test_file_replaced_outside_of_its_mount_is_named(installation: Installation) -> None:
    """Editors, sed -i and Ansible replace the file by rename, and the container keeps the old one."""
    with in_container(installation, "run") as daemon:
        daemon.wait_for_log("started")
        installation.change(enabled=False)
        daemon.wait_for_log("mounted file out of date", "mounted.toml", "mount its folder")
        inside = ["nsenter", "-t", str(daemon.pid), "-m", *PROGRAM, "-c", str(installation.directory / "mounted.toml")]
        checked = subprocess.run(  # noqa: S603  # ours
            [*inside, "check"],
            capture_output=True,
            text=True,
            env=environment(installation),
            cwd=installation.directory,
            check=False,
        )
        assert "was replaced outside of this container" in checked.stdout
        assert daemon.is_running


@mounting
def test_file_rewritten_in_place_is_reloaded(installation: Installation) -> None:
    with in_container(installation, "run") as daemon:
        daemon.wait_for_log("started")
        installation.settings_file.write_text(
            installation.settings_file.read_text().replace("enabled = true", "enabled = false")
        )
        daemon.wait_for_log("settings reloaded", "false")
        assert "out of date" not in daemon.log


@mounting
def test_edit_of_a_single_mounted_file_names_the_reason(installation: Installation) -> None:
    """A rename over a mount fails with EBUSY. Nothing changes, and no temporary file remains."""
    before = installation.settings_file.read_bytes()
    with in_container(installation, "disable") as daemon:
        daemon.wait_until(lambda: "mount its folder" in daemon.log)
    assert installation.settings_file.read_bytes() == before
    assert not list(installation.directory.glob(".mounted.toml*"))
