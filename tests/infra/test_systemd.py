"""The unit and its wrapper pass systemd's own tools. `test_running_systemd.py` runs them under a systemd."""

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from forwarder import __version__
from forwarder.vault.master_key import CREDENTIAL
from tests.infra.templates import INFRA
from tests.infra.tools import needs

UNIT = INFRA / "systemd" / "forwarder.service"
CTL = INFRA / "systemd" / "forwarder-ctl"
MAX_EXPOSURE = 2.0

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
    """Return the unit as on a machine with the forwarder, with the path of this installation."""
    file = tmp_path / UNIT.name
    installed = str(Path(sys.executable).with_name("forwarder"))
    file.write_text(UNIT.read_text().replace("/opt/forwarder/bin/forwarder", installed))
    return file


def analyse(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607


@analysed
def test_systemd_analyze_accepts_the_unit(unit: Path) -> None:
    done = analyse("verify", "--man=no", str(unit))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@analysed
def test_exposure_of_the_unit_is_low(unit: Path) -> None:
    done = analyse("security", "--offline=true", "--no-pager", f"--threshold={MAX_EXPOSURE * 10:.0f}", str(unit))
    assert done.returncode == 0, done.stdout
    exposure = float(done.stdout.split("Overall exposure level for")[1].split(": ")[1].split()[0])
    assert exposure < MAX_EXPOSURE


def test_unit_has_the_properties_that_the_program_needs() -> None:
    unit = settings()
    assert unit["Type"] == ["notify"]
    assert unit["DynamicUser"] == ["yes"]
    assert unit["StateDirectory"] == ["forwarder"]
    assert unit["RestartPreventExitStatus"] == ["78"]
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert unit["WatchdogSec"]
    (credential,) = unit["LoadCredentialEncrypted"]
    assert credential.partition(":")[0] == CREDENTIAL


def test_stop_timeout_is_longer_than_the_shutdown_grace() -> None:
    """The service manager must not end the drain, for which `run.shutdown_grace` allows 20 s."""
    (stop,) = settings()["TimeoutStopSec"]
    assert int(stop.removesuffix("s")) >= 2 * 20


def run_ctl(
    folder: Path, *arguments: str, properties: dict[str, Any], state: str = "loaded", stale: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run the wrapper with a D-Bus that returns these properties, and a `systemd-run` that prints its arguments."""
    (folder / "answers.json").write_text(
        json.dumps(EMPTY | properties | {"LoadState": state, "NeedDaemonReload": stale})
    )
    fakes = {
        "busctl": f"#!{sys.executable}\n"
        "import json, pathlib, sys\n"
        "answers = json.loads(pathlib.Path(__file__).with_name('answers.json').read_text())\n"
        "for name in sys.argv[7:]:\n"
        "    print(json.dumps({'data': answers[name]}))\n",
        "systemd-run": '#!/bin/sh\nprintf "%s\\n" "$@"\n',
    }
    for name, text in fakes.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}"}
    return run_installed_wrapper(environment, *arguments)


def run_installed_wrapper(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the wrapper with this interpreter instead of the installed one."""
    command = [sys.executable, "-I", str(CTL), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603  # a command of this test


EMPTY: dict[str, Any] = {
    **dict.fromkeys(("User", "Group", "WorkingDirectory", "ProtectHome", "ProtectSystem", "NetworkNamespacePath"), ""),
    **dict.fromkeys(("DynamicUser", "PrivateTmp", "PrivateNetwork"), False),
    **dict.fromkeys(("SupplementaryGroups", "StateDirectory", "PassEnvironment", "UnsetEnvironment"), ()),
    **dict.fromkeys(("ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "BindPaths", "BindReadOnlyPaths"), ()),
    **dict.fromkeys(("LoadCredential", "LoadCredentialEncrypted", "SetCredential", "SetCredentialEncrypted"), ()),
    **dict.fromkeys(("Environment", "EnvironmentFiles"), ()),
    "UMask": 0o077,
    "StateDirectoryMode": 0o700,
    "ExecStart": [["/opt/forwarder/bin/forwarder", ["/opt/forwarder/bin/forwarder", "-c", "/f.toml", "run"], False]],
}


def test_wrapper_runs_a_command_like_the_service(tmp_path: Path) -> None:
    answers = {
        "User": "forwarder",
        "DynamicUser": True,
        "WorkingDirectory": "!/var/lib/forwarder",
        "StateDirectory": ["forwarder", "two words"],
        "LoadCredentialEncrypted": [["forwarder-master-key", "/etc/key"]],
        "SetCredential": [["word", [97, 32, 10]]],
        "Environment": ["HTTPS_PROXY=http://proxy:3128", 'SPACED=a "b" c'],
        "EnvironmentFiles": [["/etc/default/forwarder", True], ["/etc/my env", False]],
        "BindReadOnlyPaths": [["/srv/ca", "/etc/ca", True, 16384]],
    }
    output = run_ctl(tmp_path, "keys", "set", "$HOME", "a b", properties=answers).stdout.splitlines()
    found = {line.removeprefix("--property=") for line in output if line.startswith("--property=")}
    assert {
        "User=forwarder",
        "DynamicUser=yes",
        "PrivateTmp=no",
        "UMask=0077",
        "WorkingDirectory=-/var/lib/forwarder",
        "StateDirectory=forwarder",
        'StateDirectory="two words"',
        "LoadCredentialEncrypted=forwarder-master-key:/etc/key",
        "SetCredential=word:\\x61\\x20\\x0a",
        "EnvironmentFile=-/etc/default/forwarder",
        "EnvironmentFile=/etc/my env",
        "BindReadOnlyPaths=-/srv/ca:/etc/ca",
    } <= found
    assert [line for line in output if line.startswith("--setenv=")] == [
        "--setenv=HTTPS_PROXY=http://proxy:3128",
        '--setenv=SPACED=a "b" c',
    ]
    program = ["--", "/opt/forwarder/bin/forwarder", "-c", "/f.toml"]
    assert output[-8:] == [*program, "keys", "set", "$$HOME", "a b"]


def test_wrapper_without_the_unit_is_refused(tmp_path: Path) -> None:
    done = run_ctl(tmp_path, "check", properties={}, state="not-found")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the unit forwarder.service is not-found" in done.stderr
    assert "hint:" in done.stderr


def test_wrapper_without_a_service_manager_is_refused(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/none"}
    done = run_installed_wrapper(environment, "check")
    assert done.returncode == 1
    assert done.stderr.startswith("error: systemd ")
    assert "Traceback" not in done.stderr


def test_wrapper_warns_of_files_that_are_not_loaded(tmp_path: Path) -> None:
    done = run_ctl(tmp_path, "check", properties={}, stale=True)
    assert done.returncode == 0
    assert "systemctl daemon-reload" in done.stderr


def test_wrapper_refuses_a_unit_that_does_not_call_run(tmp_path: Path) -> None:
    done = run_ctl(tmp_path, "check", properties={"ExecStart": [["/bin/true", ["/bin/true"], False]]})
    assert (done.returncode, "does not call `run`" in done.stderr) == (1, True)


def test_unit_allows_more_descriptors_than_connections() -> None:
    (limit,) = settings()["LimitNOFILE"]
    assert int(limit) >= 65_536


def test_wrapper_uses_the_interpreter_of_the_program() -> None:
    """The python3 of the machine may be too old for the wrapper."""
    program = Path(settings()["ExecStart"][0].split()[0])
    assert CTL.read_text().splitlines()[0] == f"#!{program.with_name('python')} -I"


@pytest.mark.parametrize(
    ("base", "version", "expected"),
    [
        ("/root/.pyenv/versions/3.12", 0, "ProtectHome=yes"),
        ("/home/me/.local/share/uv/python", 0, "ProtectHome=yes"),
        ("/usr", 1, "not a Python 3.11 or later"),
    ],
)
def test_install_refuses_an_unsuitable_python(tmp_path: Path, base: str, version: int, expected: str) -> None:
    """The fake interpreter returns its version at the first call, and its path at the second one."""
    for name, text in {
        "systemd-creds": "",
        "python": f"case $2 in *base_prefix*) echo {base} ;; *) exit {version} ;; esac",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHON": str(tmp_path / "python")}
    done = subprocess.run([INFRA / "systemd" / "install"], capture_output=True, text=True, check=False, env=environment)  # noqa: S603
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert expected in first
    assert second.startswith("hint:  ")
    assert "PYTHON=" in second


@pytest.mark.parametrize("file", ["infra/systemd/install", "docs/operations.md", "docs/runbook.md"])
def test_master_key_is_sealed_without_the_firmware_state(file: str) -> None:
    """By default, a new firmware or certificate of Secure Boot changes PCR 7, and the key cannot be unsealed."""
    commands = re.findall(r"systemd-creds encrypt\b.*", (INFRA.parent / file).read_text())
    assert commands
    assert all(" --tpm2-pcrs= " in f"{command} " for command in commands)  # a line of prose may end there


@pytest.mark.long
def test_install_creates_the_whole_service(tmp_path: Path) -> None:
    fakes = tmp_path / "bin"
    fakes.mkdir()
    (fakes / "systemd-creds").write_text('#!/bin/sh\nfor last; do :; done\ncat > "$last"\n')
    (fakes / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    for fake in fakes.iterdir():
        fake.chmod(0o755)
    root = tmp_path / "root"
    environment = os.environ | {"PATH": f"{fakes}:{os.environ['PATH']}", "DESTDIR": str(root)}
    subprocess.run([INFRA / "systemd" / "install"], check=True, capture_output=True, env=environment)  # noqa: S603
    key = (root / "etc/credstore.encrypted/forwarder-master-key").read_text()
    assert len(base64.b64decode(key)) == 32
    assert (root / "etc/systemd/system/forwarder.service").read_text() == UNIT.read_text()
    assert (root / "usr/local/sbin/forwarder-ctl").read_text() == CTL.read_text()
    assert (tmp_path / "calls").read_text() == "daemon-reload\n"
    bin_ = root / "opt/forwarder/bin"
    output = subprocess.run([bin_ / "forwarder", "--version"], check=True, capture_output=True, text=True)  # noqa: S603
    assert output.stdout == f"forwarder {__version__}\n"
    assert not list(bin_.glob("pip*"))
