"""The unit and its wrapper on a running systemd: installation, start, kill, hang, reload and stop."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import tomlkit

from tests.e2e.harness import numbered
from tests.fakes.alloy import API_KEY
from tests.fakes.eventbridge import BUS, KEY, REGION
from tests.infra.machine import Machine, booted_machine, missing_tools, system_python
from tests.infra.templates import INFRA

pytestmark = pytest.mark.long

ROOT: Final = INFRA.parent
SOURCE: Final = "/srv/forwarder"
WHEELS: Final = "/srv/wheels"
SETTINGS_FILE: Final = "/var/lib/forwarder/forwarder.toml"
DROP_INS: Final = "/etc/systemd/system/forwarder.service.d"
PROCESS_VARIABLES: Final = {
    "INVOCATION_ID",
    "SYSTEMD_EXEC_PID",
    "CREDENTIALS_DIRECTORY",
    "JOURNAL_STREAM",
    "MEMORY_PRESSURE_WATCH",
}
"""The variables that differ between processes by design."""

PROBE: Final = """[Service]
Type=oneshot
ExecStart=/bin/sh -c 'env -0 > "$STATE_DIRECTORY/$0"; cat "$CREDENTIALS_DIRECTORY"/* >> "$STATE_DIRECTORY/$0"' run
DynamicUser=yes
User=probe
StateDirectory=probe
WorkingDirectory=/var/lib/probe
Environment=HTTPS_PROXY=http://user:p%%40ss@127.0.0.1:9 "AWS_CA_BUNDLE=/etc/my certs/ca.pem"
Environment='QUOTED=a "b" \\\\c $d' NAME=%n EMPTY=
EnvironmentFile=-/etc/absent.env
EnvironmentFile=/etc/probe file.env
UnsetEnvironment=LANG
LoadCredential=hosts:/etc/hosts
SetCredential=word:one\\x20two
"""


class FakeEndpoints:
    """The fakes of the logs API and the bus, in the machine's network."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.urls = self._answer()

    def fail(self, *ids: str) -> None:
        self.request("fail", *ids)

    def sent(self) -> list[str]:
        return list(self.request("sent"))

    def request(self, *arguments: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{' '.join(arguments)}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextmanager
def start_endpoints(machine: Machine) -> Iterator[FakeEndpoints]:
    arguments = [*machine.inside("-n"), sys.executable, "-m", "tests.infra.fake_endpoints"]
    with subprocess.Popen(arguments, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:  # noqa: S603  # a command of this test
        try:
            yield FakeEndpoints(process)
        finally:
            process.kill()


def download_wheels(folder: Path) -> Path:
    """Download the wheels of the lock files for the Python of the machine, and return their folder."""
    python = system_python()
    assert python is not None
    subprocess.run([python, "-m", "venv", folder / "venv"], check=True, timeout=60)  # noqa: S603  # a command of this test
    locks = [part for name in ("requirements", "build") for part in ("-r", INFRA / "container" / f"{name}.lock")]
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:"]
    pip = [folder / "venv" / "bin" / "python", "-m", "pip", "download", *options, *locks, "-d", folder / "wheels"]
    subprocess.run(pip, check=True, timeout=120, capture_output=True)  # noqa: S603  # a command of this test
    return folder / "wheels"


def test_unit_works_on_a_running_systemd(tmp_path: Path) -> None:
    """One boot runs all steps, because the installation takes longer than all of them."""
    if reason := missing_tools():
        pytest.skip(f"skipped: {reason}")
    folder = tmp_path / "machine"
    folder.mkdir()
    wheels = download_wheels(tmp_path)
    with (
        booted_machine(folder, read_only={ROOT: SOURCE, wheels: WHEELS}) as machine,
        start_endpoints(machine) as endpoints,
    ):
        install(machine)
        wrapper_has_the_environment_of_the_unit(machine)
        configure(machine, endpoints)
        runs_and_sends(machine, endpoints)
        restarts_after_a_kill(machine, endpoints)
        restarts_after_a_hang(machine, endpoints)
        keeps_the_last_good_settings(machine, endpoints)
        stops_without_loss(machine, endpoints)
        exit_78_is_not_restarted(machine)


def install(machine: Machine) -> None:
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": WHEELS, "PIP_CONFIG_FILE": "/dev/null"}
    output = machine.run_checked(f"{SOURCE}/infra/systemd/install", env=offline)
    assert "next: forwarder-ctl init" in output
    sealed = machine.run_checked("cat", "/etc/credstore.encrypted/forwarder-master-key")
    opened = machine.run_checked("systemd-creds", "decrypt", "/etc/credstore.encrypted/forwarder-master-key", "-")
    assert opened.strip() not in sealed
    assert machine("systemd-analyze", "verify", "--man=no", "forwarder.service").code == 0


def wrapper_has_the_environment_of_the_unit(machine: Machine) -> None:
    """Require that a command gets the same environment as the service, whatever the unit sets."""
    machine.write("/etc/systemd/system/probe.service", PROBE)
    machine.write("/etc/probe file.env", 'FROM_FILE="x y"\nEMPTY=not any more\n# a comment\n')
    machine.run_checked("systemctl", "daemon-reload")
    machine.run_checked("systemctl", "start", "probe")
    machine.run_checked(
        "forwarder-ctl", "command", env={"FORWARDER_UNIT": "probe.service", "HTTPS_PROXY": "http://stranger"}
    )
    service, command = (environment_in(machine, name) for name in ("run", "command"))
    assert service == command
    assert service["HTTPS_PROXY"] == "http://user:p%40ss@127.0.0.1:9"
    assert (service["AWS_CA_BUNDLE"], service["FROM_FILE"]) == ("/etc/my certs/ca.pem", "x y")
    assert (service["EMPTY"], service["NAME"]) == ("not any more", "probe.service")
    assert service[""].endswith("one two")
    refused = machine("forwarder-ctl", "check", env={"FORWARDER_UNIT": "absent.service"})
    assert (refused.code, "absent.service is not-found" in refused.err) == (1, True), refused


def environment_in(machine: Machine, name: str) -> dict[str, str]:
    """Return the variables in the file, with the credentials under the empty name."""
    *variables, credentials = machine.run_checked("cat", f"/var/lib/probe/{name}").split("\0")
    found = dict(each.split("=", 1) for each in variables)
    return {key: value for key, value in found.items() if key not in PROCESS_VARIABLES} | {"": credentials}


def configure(machine: Machine, endpoints: FakeEndpoints) -> None:
    """Configure the addresses by a drop-in and its file. Without them, `check` would fail."""
    machine.run_checked("forwarder-ctl", "init")
    write_settings(machine, SETTINGS)
    bus = endpoints.urls["bus"]
    machine.write(
        f"{DROP_INS}/place.conf",
        f"[Service]\nEnvironment=FORWARDER_SOURCE__BASE_URL={endpoints.urls['alloy']}\nEnvironmentFile=/etc/forwarder.env\n"
        "WatchdogSec=5s\nRestartSec=1s\n",
    )
    machine.write("/etc/forwarder.env", f'FORWARDER_DESTINATION__ENDPOINT_URL="{bus}"\nAWS_ENDPOINT_URL_STS={bus}\n')
    machine.run_checked("systemctl", "daemon-reload")
    secrets = {"alloy-api-key": API_KEY, "aws-access-key-id": KEY.id, "aws-secret-access-key": KEY.secret}
    for name, secret in secrets.items():
        machine.run_checked("forwarder-ctl", "keys", "set", name, stdin=f"{secret}\n")
    machine.run_checked("forwarder-ctl", "check")


SETTINGS: Final = {
    "format": 1,
    "source": {
        "workflows": ["w"],
        "start_from": "beginning",
        "min_interval": "100ms",
        "max_interval": "300ms",
        "requests_per_second": 500,
    },
    "destination": {"event_bus": BUS, "region": REGION},
}


def write_settings(machine: Machine, settings: dict[str, Any] | str) -> None:
    machine.write(SETTINGS_FILE, settings if isinstance(settings, str) else tomlkit.dumps(settings))


def show(machine: Machine, name: str) -> str:
    return machine.run_checked("systemctl", "show", "forwarder", "-P", name).strip()


def require_sent(machine: Machine, endpoints: FakeEndpoints, id_: str) -> None:
    endpoints.fail(id_)
    machine.wait_until(lambda: id_ in endpoints.sent(), f"{id_} is sent")


def wait_until_restarted(machine: Machine, times: int) -> None:
    machine.wait_until(
        lambda: (show(machine, "NRestarts"), show(machine, "ActiveState")) == (str(times), "active"),
        f"it runs again after restart {times}",
    )


def runs_and_sends(machine: Machine, endpoints: FakeEndpoints) -> None:
    machine.run_checked("systemctl", "start", "forwarder")
    require_sent(machine, endpoints, "first")
    machine.run_checked("forwarder-ctl", "health")
    machine.wait_until(lambda: machine("forwarder-ctl", "health", "--ready").code == 0, "it is ready")
    machine.run_checked("forwarder-ctl", "check")
    limit = int(show(machine, "LimitNOFILE"))
    assert limit == 65_536
    # systemd cannot raise the limit above its own.
    assert open_files(machine, show(machine, "MainPID")) == min(limit, open_files(machine, "1"))


def open_files(machine: Machine, process: str) -> int:
    """Return the hard limit of a process."""
    limits = machine.run_checked("cat", f"/proc/{process}/limits")
    (hard,) = [line.split()[4] for line in limits.splitlines() if line.startswith("Max open files")]
    return sys.maxsize if hard == "unlimited" else int(hard)


def restarts_after_a_kill(machine: Machine, endpoints: FakeEndpoints) -> None:
    machine.run_checked("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "forwarder")
    wait_until_restarted(machine, 1)
    require_sent(machine, endpoints, "after-kill")


def restarts_after_a_hang(machine: Machine, endpoints: FakeEndpoints) -> None:
    machine.run_checked("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "forwarder")
    wait_until_restarted(machine, 2)
    assert "watchdog" in machine.journal().lower()
    require_sent(machine, endpoints, "after-hang")


def keeps_the_last_good_settings(machine: Machine, endpoints: FakeEndpoints) -> None:
    process = show(machine, "MainPID")
    write_settings(machine, SETTINGS | {"destination": {"event_bus": BUS, "region": "nowhere at all"}})
    machine.run_checked("systemctl", "reload", "forwarder")
    machine.wait_until(
        lambda: "region" in json.loads(machine.run_checked("forwarder-ctl", "status", "--json"))["settings_error"],
        "the fault is reported",
    )
    require_sent(machine, endpoints, "after-edit")
    machine.run_checked("forwarder-ctl", "health")
    assert (show(machine, "MainPID"), show(machine, "ActiveState")) == (process, "active")
    write_settings(machine, SETTINGS)


def stops_without_loss(machine: Machine, endpoints: FakeEndpoints) -> None:
    """Stop the service during its work and start it again. Each failure is sent once."""
    many = numbered(300)
    endpoints.fail(*many)
    machine.wait_until(lambda: "x000" in endpoints.sent() or "x299" in endpoints.sent(), "sending has begun")
    machine.run_checked("systemctl", "stop", "forwarder")
    assert (show(machine, "Result"), show(machine, "ExecMainStatus")) == ("success", "0")
    counters = json.loads(machine.run_checked("forwarder-ctl", "status", "--json"))["counters"]
    assert counters["sent"] == len(endpoints.sent())
    machine.run_checked("systemctl", "start", "forwarder")
    everything = sorted(["first", "after-kill", "after-hang", "after-edit", *many])
    machine.wait_until(lambda: len(endpoints.sent()) >= len(everything), "all are sent")
    assert endpoints.sent() == everything
    machine.run_checked("systemctl", "stop", "forwarder")


def exit_78_is_not_restarted(machine: Machine) -> None:
    write_settings(machine, "[destination\n")
    started = machine("systemctl", "start", "forwarder")
    assert started.code != 0
    assert (show(machine, "ExecMainStatus"), show(machine, "ActiveState")) == ("78", "failed")
    assert show(machine, "NRestarts") == "0"
    errors = machine.run_checked("journalctl", "--no-pager", "-o", "cat", "-p", "err", "-u", "forwarder")
    assert "\nerror: " in f"\n{errors}", "the journal knows that the line is an error"
    assert machine("forwarder-ctl", "health").code == 78
