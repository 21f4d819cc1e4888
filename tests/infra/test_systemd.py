"""The unit, judged by systemd's own tools. That it runs under a systemd is not proved here: none runs the tests."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forwarder import __version__
from forwarder.vault.master_key import CREDENTIAL
from tests.infra.templates import INFRA
from tests.infra.tools import needs

UNIT = INFRA / "systemd" / "forwarder.service"
VERB = INFRA / "systemd" / "forwarder-verb"
MOST_EXPOSED = 2.0

analysed = needs("systemd-analyze", "systemd")


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """As it would stand on a machine where the forwarder is installed: at the path of this one."""
    file = tmp_path / UNIT.name
    installed = str(Path(sys.executable).with_name("forwarder"))
    file.write_text(UNIT.read_text().replace("/opt/forwarder/bin/forwarder", installed))
    return file


def analyse(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)  # noqa: S603, S607


@analysed
def test_systemd_finds_nothing_wrong_with_the_unit(unit: Path) -> None:
    done = analyse("verify", "--man=no", str(unit))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@analysed
def test_the_exposure_is_low(unit: Path) -> None:
    done = analyse("security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED * 10:.0f}", str(unit))
    assert done.returncode == 0, done.stdout
    exposure = float(done.stdout.split("Overall exposure level for")[1].split(": ")[1].split()[0])
    assert exposure < MOST_EXPOSED


def test_the_unit_is_as_the_program_needs_it() -> None:
    unit = settings()
    assert unit["Type"] == ["notify"]
    assert unit["DynamicUser"] == ["yes"]
    assert unit["StateDirectory"] == ["forwarder"]
    assert unit["RestartPreventExitStatus"] == ["78"]
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert unit["WatchdogSec"]
    (credential,) = unit["LoadCredentialEncrypted"]
    assert credential.partition(":")[0] == CREDENTIAL


def test_the_drain_is_longer_than_the_grace() -> None:
    """`run.shutdown_grace` is 20 s, and the manager must not cut it short."""
    (stop,) = settings()["TimeoutStopSec"]
    assert int(stop.removesuffix("s")) >= 2 * 20


def test_a_verb_is_run_as_the_service_is(tmp_path: Path) -> None:
    manager = tmp_path / "systemd-run"
    manager.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    manager.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    words = ["keys", "set", "alloy-api-key"]
    done = subprocess.run([VERB, *words], capture_output=True, text=True, check=True, env=environment)  # noqa: S603
    said = done.stdout.splitlines()
    properties = {line.removeprefix("--property=") for line in said if line.startswith("--property=")}
    unit = settings()
    assert properties == {f"{key}={value}" for key in _SHARED for value in unit[key]}
    assert said[-len(words) :] == words
    assert " ".join(said[-len(words) - 3 : -len(words)]) == unit["ExecStart"][0].removesuffix(" run")


@pytest.mark.long
def test_the_service_is_installed_whole(tmp_path: Path) -> None:
    fakes = tmp_path / "bin"
    fakes.mkdir()
    (fakes / "systemd-creds").write_text('#!/bin/sh\nfor last; do :; done\ncat > "$last"\n')
    (fakes / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/told\n')
    for fake in fakes.iterdir():
        fake.chmod(0o755)
    root = tmp_path / "root"
    environment = os.environ | {"PATH": f"{fakes}:{os.environ['PATH']}", "DESTDIR": str(root)}
    subprocess.run([INFRA / "systemd" / "install"], check=True, capture_output=True, env=environment)  # noqa: S603
    key = (root / "etc/credstore.encrypted/forwarder-master-key").read_text()
    assert len(base64.b64decode(key)) == 32
    assert (root / "etc/systemd/system/forwarder.service").read_text() == UNIT.read_text()
    assert (root / "usr/local/sbin/forwarder-verb").read_text() == VERB.read_text()
    assert (tmp_path / "told").read_text() == "daemon-reload\n"
    bin_ = root / "opt/forwarder/bin"
    said = subprocess.run([bin_ / "forwarder", "--version"], check=True, capture_output=True, text=True)  # noqa: S603
    assert said.stdout == f"forwarder {__version__}\n"
    assert not list(bin_.glob("pip*"))


_SHARED = (
    "DynamicUser",
    "User",
    "UMask",
    "StateDirectory",
    "StateDirectoryMode",
    "WorkingDirectory",
    "LoadCredentialEncrypted",
)
