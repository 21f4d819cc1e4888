"""The program on other people's machines: users without a name, file systems that cannot be written, secrets that a
container engine mounts.

No container engine is needed: other users, mounts and network namespaces are the kernel's own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.conftest import alloy, bus, installation, vault_secrets
from tests.e2e.harness import fail, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import CommandResult, Installation

__all__ = ["alloy", "bus", "installation", "vault_secrets"]

ARBITRARY_USER: Final = 1_000_650_000
"""A user id as OpenShift assigns it, without a name, and with group 0."""


CHECKOUT: Final = Path(__file__).parents[2]

WITHOUT_IPV6: Final = CHECKOUT / "tests" / "harness" / "without_ipv6.py"


def can_mount() -> bool:
    tools = all(shutil.which(tool) for tool in ("unshare", "setpriv", "mount"))
    arguments = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    return os.geteuid() == 0 and tools and subprocess.run(arguments, capture_output=True, check=False).returncode == 0  # noqa: S603  # ours


mounting = pytest.mark.skipif(not can_mount(), reason="left out: it needs root and mount, unshare and setpriv")


def as_user(
    installation: Installation, *command: str, mounts: str = "", user: int = ARBITRARY_USER, gone: tuple[str, ...] = ()
) -> CommandResult:
    """Run a command as this user of group 0, with these mounts, which end with it. `gone` are unset variables.

    The Python and the checkout may be in a home folder that other users cannot enter. A read-only capability to pass
    folders stands for an image, in which everybody can.
    """
    environment = {name: value for name, value in installation.environment().items() if name not in gone}
    program = " ".join([sys.executable, "-m", "forwarder", "-c", str(installation.settings_file), *command])
    passing = (
        "--inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search --bounding-set=-all,+dac_read_search"
    )
    script = f"set -e; {mounts}\nexec setpriv --reuid={user} --regid=0 --clear-groups {passing} {program}"
    done = subprocess.run(  # noqa: S603  # ours
        ["unshare", "-m", "/bin/sh", "-c", script],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=60,
        env=environment | {"PYTHONPATH": str(CHECKOUT)},
        cwd=installation.directory,
        check=False,
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


READ_ONLY_ROOT: Final = "mount --bind {place} {place}; mount -o remount,ro,bind /"
"""The mounts of a container with `read_only: true`, in which only the volume of the state can be written."""


@mounting
@pytest.mark.parametrize("gone", [(), ("HOME",), ("HOME", "PATH", "LANG")], ids=str)
def test_arbitrary_user_on_a_read_only_root_sends(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, gone: tuple[str, ...]
) -> None:
    """On OpenShift with `read_only: true` the user has no name, no home and no folder for temporary files."""
    installation.directory.chmod(0o770)
    fail(alloy, "a")
    done = as_user(installation, "once", mounts=READ_ONLY_ROOT.format(place=installation.directory), gone=gone)
    assert done.code == 0, done.output
    assert "Traceback" not in done.output
    assert sent(bus) == ["a"]
    made = (installation.directory / "forwarder.db").stat()
    assert (made.st_uid, made.st_mode & 0o077) == (ARBITRARY_USER, 0)


@mounting
def test_settings_of_a_read_only_folder_are_read(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """With `ProtectSystem=strict` and ConfigMaps, the settings are in another folder and cannot be written."""
    settings, state = installation.directory / "etc", installation.directory / "state"
    settings.mkdir()
    state.mkdir(mode=0o770)
    state.chmod(0o770)
    for name in ("forwarder.keys", "forwarder.master-key"):
        shutil.move(installation.directory / name, state / name)
    installation.change(
        "vault", file=str(state / "forwarder.keys"), master_key_file=str(state / "forwarder.master-key")
    )
    installation.change("ledger", url=f"sqlite:///{state}/forwarder.db")
    installation.settings_file = installation.settings_file.rename(settings / installation.settings_file.name)
    fail(alloy, "a")
    mounts = READ_ONLY_ROOT.format(place=state)
    done = as_user(installation, "once", mounts=mounts)
    assert done.code == 0, done.output
    assert sent(bus) == ["a"]
    refused = as_user(installation, "disable", mounts=mounts)
    assert refused.code != 0
    assert "Traceback" not in refused.output
    assert str(installation.settings_file) in refused.err, refused.output


@mounting
def test_read_only_state_is_named(installation: Installation) -> None:
    """A volume without write permission for the image's user gives one error without a traceback."""
    installation.directory.chmod(0o755)
    for command in (("once",), ("run",), ("keys", "remove", "alloy-api-key"), ("disable",)):
        done = as_user(installation, *command, mounts="mount -o remount,ro,bind /")
        assert done.code in {1, 75, 78}, (command, done)
        assert "Traceback" not in done.output, command
        assert str(installation.directory) in done.output, (command, done)


@mounting
def test_secrets_of_compose_open_the_vault(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """Compose mounts the master key read-only, with mode 0444 and another owner."""
    folder = installation.directory / "secrets"
    folder.mkdir(mode=0o755)
    handed = folder / "forwarder-master-key"
    shutil.move(installation.directory / "forwarder.master-key", handed)
    handed.chmod(0o444)
    installation.directory.chmod(0o770)
    installation.env["CREDENTIALS_DIRECTORY"] = str(folder)
    fail(alloy, "a")
    mounts = f"mount --bind {handed} {handed}; mount -o remount,ro,bind {handed}"
    done = as_user(installation, "once", mounts=mounts)
    assert done.code == 0, done.output
    assert sent(bus) == ["a"]


def in_network_namespace(installation: Installation, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # ours
        ["unshare", "-n", "/bin/sh", "-c", script],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=60,
        env=installation.environment() | {"PYTHONPATH": str(CHECKOUT)},
        cwd=installation.directory,
        check=False,
    )


@mounting
def test_ipv6_only_host_serves_and_sends(installation: Installation) -> None:
    """The host has no IPv4 address, not even loopback."""
    installation.change("web", listen="[::1]:8787", health_listen="[::]:8788")
    program = f"{sys.executable} -m forwarder -c {installation.settings_file}"
    script = f"""
        ip link set lo up && ip -4 addr flush dev lo
        {program} run 2>daemon.log & pid=$!
        for _ in $(seq 100); do grep -q "health endpoints listening" daemon.log && break; sleep 0.1; done
        {program} health && FORWARDER_WEB__HEALTH_LISTEN= {program} health; code=$?
        kill $pid; wait $pid; exit $code
    """
    done = in_network_namespace(installation, script)
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()] == [
        "http://[::1]:8788/livez",
        "http://[::1]:8787/livez",
    ]


@mounting
@pytest.mark.parametrize(
    ("prepare", "launcher"),
    [
        pytest.param("", f"{sys.executable} {WITHOUT_IPV6}", id="kernel without IPv6"),
        pytest.param("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6", "", id="no IPv6 address"),
    ],
)
def test_wildcard_without_ipv6_is_served_on_ipv4(installation: Installation, prepare: str, launcher: str) -> None:
    """`[::]` is the address in templates for networks of either kind."""
    installation.change("web", listen="", health_listen="[::]:8788")
    program = f"{launcher} {sys.executable} -m forwarder -c {installation.settings_file}"
    script = f"""
        ip link set lo up && {prepare or "true"}
        {program} run 2>daemon.log & pid=$!
        for _ in $(seq 100); do grep -q "health endpoints listening" daemon.log && break; sleep 0.1; done
        {program} health; code=$?
        kill $pid; wait $pid; exit $code
    """
    done = in_network_namespace(installation, script)
    assert done.returncode == 0, done.stderr
    assert "healthy: http://127.0.0.1:8788/livez responds with 200" in done.stdout
    assert '"address": "http://127.0.0.1:8788"' in (installation.directory / "daemon.log").read_text()


def test_closed_standard_streams_are_no_fault(installation: Installation) -> None:
    """A service manager may start a program without standard input, and cron closes streams that it does not read."""
    script = f"{sys.executable} -m forwarder -c {installation.settings_file} once <&- >out 2>err"
    done = subprocess.run(  # noqa: S603  # ours
        ["/bin/sh", "-c", script], env=installation.environment(), cwd=installation.directory, timeout=60, check=False
    )
    assert done.returncode == 0, (installation.directory / "err").read_text()
    assert "Traceback" not in (installation.directory / "err").read_text()


SSO_PROFILE: Final = (
    "[default]\nsso_session = corp\nsso_account_id = 1\nsso_role_name = r\n"
    "[sso-session corp]\nsso_start_url = https://x\nsso_region = eu-west-1\n"
)


@mounting
def test_missing_login_of_a_user_without_home_is_named(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """The folder of logins is in a home that an arbitrary user of a container does not have."""
    installation.directory.chmod(0o770)
    config = installation.directory / "aws.config"
    config.write_text(SSO_PROFILE)
    config.chmod(0o644)
    installation.run_command("keys", "remove", "aws-access-key-id")
    installation.run_command("keys", "remove", "aws-secret-access-key")
    installation.env |= {"AWS_CONFIG_FILE": str(config), "AWS_EC2_METADATA_DISABLED": "true"}
    fail(alloy, "a")
    done = as_user(installation, "check", gone=("HOME",))
    assert "no usable login in ~/.aws/sso/cache/" in done.output, done.output
    assert "Could not determine home" not in done.output
    assert (done.code, sent(bus)) == (77, [])
