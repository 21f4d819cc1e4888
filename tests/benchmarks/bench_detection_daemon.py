"""Detection by the daemon itself: 300 workflows, of which 30 fail every 20 s, from the stop to acceptance by the bus.

The settings are the defaults. The daemon and the bus are separate processes. The executions are listed as they stop.
"""

import time

from tests.benchmarks.bench import Bench
from tests.benchmarks.bench_page import temporary_installation
from tests.benchmarks.detection_simulation import WINDOW_SECONDS, WindowCounter
from tests.benchmarks.sink import start_sink
from tests.e2e.harness import fail
from tests.e2e.web_client import metric, web_address
from tests.fakes.alloy import FakeAlloy
from tests.harness.process import eventually

GOALS = (9,)

WORKFLOWS, FAILING = 300, 30
FAILURE_INTERVAL_SECONDS = 20.0

CAP = 20
"""The requests a second of the default settings."""

WARM_UP_SECONDS, MEASURED_SECONDS = 60.0, 120.0
QUICK_MEASURED_SECONDS = 40.0

MAX_WAIT_SECONDS = 60.0


def run(bench: Bench) -> None:
    measured_seconds = QUICK_MEASURED_SECONDS if bench.quick else MEASURED_SECONDS
    with (
        FakeAlloy() as alloy,
        start_sink(record_times=True) as bus,
        temporary_installation(alloy.url, bus.url) as installation,
    ):
        workflows = [f"w-{number}" for number in range(WORKFLOWS)]
        for workflow in workflows:
            alloy.api.add_workflow(workflow)
        installation.change(
            "source", workflows=workflows, min_interval="5s", max_interval="2m", requests_per_second=CAP
        )
        with installation.start() as daemon:
            daemon.wait_until(lambda: metric(web_address(daemon), "poll_duration_seconds_count") >= WORKFLOWS)
            _fail_regularly(alloy, workflows[:FAILING], WARM_UP_SECONDS, "warm")
            requests_before, began = len(alloy.requests), time.perf_counter()
            stopped_at = _fail_regularly(alloy, workflows[:FAILING], measured_seconds, "e")
            requests = (len(alloy.requests) - requests_before) / (time.perf_counter() - began)
            assert eventually(lambda: stopped_at.keys() <= bus.accepted_at().keys(), within=MAX_WAIT_SECONDS)
            accepted_at = bus.accepted_at()
            windows = WindowCounter()
            for request in alloy.requests:  # from the start of the daemon, when all feeds are due at once
                windows.count(request.at.timestamp())
    delays = [accepted_at[execution_id] - at for execution_id, at in stopped_at.items()]
    bench.quantiles("From the stop to the bus", "s", {"forwarder": delays})
    bench.goal(9, "the daemon, mean from the stop to the bus", sum(delays) / len(delays), unit="s", at_most=5)
    bench.goal(9, "the daemon, requests a second", requests, unit="/s", at_most=CAP)
    busiest = windows.maximum / WINDOW_SECONDS
    bench.goal(9, "the daemon, requests a second in the busiest minute", busiest, unit="/s", at_most=CAP)


def _fail_regularly(alloy: FakeAlloy, workflows: list[str], seconds: float, name: str) -> dict[str, float]:
    """Fail an execution of each workflow every FAILURE_INTERVAL_SECONDS, in turns. Return when each stopped."""
    step = FAILURE_INTERVAL_SECONDS / len(workflows)
    stopped_at: dict[str, float] = {}
    began = time.perf_counter()
    for number in range(int(seconds / step)):
        time.sleep(max(0.0, began + number * step - time.perf_counter()))
        execution_id = f"{name}-{number}"
        fail(alloy, execution_id, workflow=workflows[number % len(workflows)], ago=1)
        stopped_at[execution_id] = time.perf_counter()
    return stopped_at
