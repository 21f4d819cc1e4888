"""`health --started`: unhealthy until logs API, ledger and bus have worked once, and from then on as `health`."""

from __future__ import annotations

import pytest

from forwarder.ledger import RunningLock
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import BUS
from tests.harness.installation import Installation
from tests.harness.ports import free_port
from tests.harness.process import ForwarderProcess


def wait_for_code(installation: Installation, daemon: ForwarderProcess, code: int, *options: str) -> str:
    """Wait until `health` exits with a code, and return its error."""
    daemon.wait_until(lambda: installation.run_command("health", *options).code == code)
    return installation.run_command("health", *options).err


@pytest.mark.parametrize(
    ("component", "section", "broken"),
    [
        ("bus", "destination", {"event_bus": "misspelled"}),
        ("source", "source", {"base_url": "http://127.0.0.1:9"}),
    ],
)
def test_start_that_does_not_work_is_unhealthy(
    installation: Installation, alloy: FakeAlloy, component: str, section: str, broken: dict[str, str]
) -> None:
    """An outage after the start is healthy, because a restart would not end it."""
    works = {"event_bus": BUS} if section == "destination" else {"base_url": alloy.url}
    installation.change(section, **broken)
    installation.change("web", listen=f"127.0.0.1:{free_port()}")
    with installation.start() as daemon:
        daemon.wait_until(lambda: f"{component} is FAILED" in installation.run_command("health", "--started").err)
        assert installation.run_command("health").code == 0
        assert installation.run_command("health", "--started").code == 1
        installation.change(section, **works)
        wait_for_code(installation, daemon, 0, "--started")
        wait_for_code(installation, daemon, 0, "--ready")
        installation.change(section, **broken)
        assert f"{component} is" in wait_for_code(installation, daemon, 1, "--ready")
        assert installation.run_command("health", "--started").code == 0


def test_start_that_is_switched_off_is_healthy(installation: Installation) -> None:
    installation.change(enabled=False)
    installation.change("web", listen=f"127.0.0.1:{free_port()}")
    with installation.start() as daemon:
        wait_for_code(installation, daemon, 0, "--started")


def test_start_without_a_listener_has_a_hint(installation: Installation) -> None:
    with RunningLock(installation.directory / "forwarder.db"):
        done = installation.run_command("health", "--started")
    assert (done.code, "nothing responds to /startupz" in done.err, "health_listen" in done.err) == (78, True, True)


def test_started_excludes_ready(installation: Installation) -> None:
    done = installation.run_command("health", "--started", "--ready")
    assert (done.code, "--ready excludes --started" in done.err) == (2, True)
