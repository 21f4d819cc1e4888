"""A stalled loop is cancelled and restarted within the process, without loss."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.faults.clock import SimTime
from tests.faults.control import CONTROL, MAX_WORK, UNDER_TEST, Driver
from tests.faults.environment import Environment, create_installation
from tests.harness.process import ForwarderProcess

MAX_WORK_SECONDS = "3"


@contextmanager
def start_stalled(directory: Path, point: str) -> Iterator[tuple[Environment, ForwarderProcess, Driver]]:
    sim = SimTime.start(1.0)
    with FakeAlloy(now=sim.now) as alloy, StrictEventBridge() as bridge:
        alloy.api.add_workflow("w-1")
        driver = Driver(directory / "control")
        environment = Environment(alloy, bridge, create_installation(directory, alloy=alloy.url, bus=bridge.url))
        driver.hang(point)
        environ = sim.environ() | {CONTROL: str(driver.file), MAX_WORK: MAX_WORK_SECONDS}
        with environment.installation.start(module=UNDER_TEST, environ=environ) as daemon:
            daemon.wait_until(daemon.has_started)
            yield environment, daemon, driver


@pytest.mark.parametrize(
    ("part", "point"),
    [
        pytest.param("source", "record:before", marks=pytest.mark.long),
        pytest.param("source", "known_ids:after", marks=pytest.mark.long),
        ("bus", "claim:before"),
    ],
)
def test_stalled_loop_is_named_and_restarted_without_loss(part: str, point: str, tmp_path: Path) -> None:
    with start_stalled(tmp_path, point) as (environment, daemon, driver):
        environment.fail("a", "b")
        daemon.wait_until(lambda: daemon.has_logged("loop stalled", f'"loop": "{part}"'), within=60)
        daemon.wait_for_log(
            "component state changed", f'"component": "{part}"', "FAILED", "it is restarted automatically"
        )
        driver.hang("")
        daemon.wait_until(environment.has("a", "b"), within=60)
        assert environment.sent() == ["a", "b"]
        assert daemon.stop() == 0


def test_paused_process_reports_no_stalled_loop(tmp_path: Path) -> None:
    """A process that was stopped by SIGSTOP and continues has no stalled loop."""
    with start_stalled(tmp_path, "") as (environment, daemon, _):
        daemon.send(signal.SIGSTOP)
        time.sleep(2 * float(MAX_WORK_SECONDS))  # the pause itself is under test
        daemon.send(signal.SIGCONT)
        environment.fail("a")
        daemon.wait_until(environment.has("a"))
        assert not daemon.has_logged("loop stalled")
