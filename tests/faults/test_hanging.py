"""A loop that hangs on something that never comes is ended and started again, without a restart and without loss."""

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
from tests.faults.control import CONTROL, UNDER_TEST, WORK, Driver
from tests.faults.environment import Environment, create_installation
from tests.harness.process import ForwarderProcess

MAX_WORK_SECONDS = "3"


@contextmanager
def hanging(place: Path, point: str) -> Iterator[tuple[Environment, ForwarderProcess, Driver]]:
    sim = SimTime.begin(1.0)
    with FakeAlloy(now=sim.now) as alloy, StrictEventBridge() as bridge:
        alloy.api.add_workflow("w-1")
        driver = Driver(place / "control")
        environment = Environment(alloy, bridge, create_installation(place, alloy=alloy.url, bus=bridge.url))
        driver.hang(point)
        environ = sim.environ() | {CONTROL: str(driver.file), WORK: MAX_WORK_SECONDS}
        with environment.installation.start(module=UNDER_TEST, environ=environ) as daemon:
            daemon.wait_until(daemon.has_started)
            yield environment, daemon, driver


@pytest.mark.parametrize(
    ("part", "point"), [("source", "record:before"), ("source", "known_ids:after"), ("bus", "claim:before")]
)
def test_a_loop_that_hangs_is_named_and_started_again_and_loses_nothing(part: str, point: str, tmp_path: Path) -> None:
    with hanging(tmp_path, point) as (environment, daemon, driver):
        environment.fail("a", "b")
        daemon.wait_until(lambda: daemon.has_logged("loop stalled", f'"loop": "{part}"'), within=60)
        assert daemon.has_logged(
            "component state changed", f'"component": "{part}"', "FAILED", "it is restarted automatically"
        )
        driver.hang("")
        daemon.wait_until(environment.has("a", "b"), within=60)
        assert environment.sent() == ["a", "b"]
        assert daemon.stop() == 0


def test_a_process_that_was_stopped_and_goes_on_takes_no_loop_for_hanging(tmp_path: Path) -> None:
    with hanging(tmp_path, "") as (environment, daemon, _):
        daemon.send(signal.SIGSTOP)
        time.sleep(2 * float(MAX_WORK_SECONDS))  # the stop itself is what is tested
        daemon.send(signal.SIGCONT)
        environment.fail("a")
        daemon.wait_until(environment.has("a"))
        assert not daemon.has_logged("loop stalled")
