"""Latency: from a failure's becoming visible in the API to its acceptance by the bus, a hundred failures a second.

Two executions of a workflow fail at once, and it is nudged for them: the door lets 50 nudges a second through. The
daemon, the bus and what stands in for Alloy are processes of their own, and share the machine.
"""

import http.client
import json
import time
from urllib.parse import urlsplit

from tests.benchmarks.bench import Bench
from tests.benchmarks.bench_page import temporary_installation
from tests.benchmarks.sink import Sink, sink
from tests.e2e.harness import fail
from tests.e2e.web_client import create_webhook, metric, web_address
from tests.fakes.alloy import FakeAlloy
from tests.harness.process import eventually

GOALS = (5, 8)

WORKFLOWS = 100
"""Nudged in turns, every two seconds: one that is nudged all the time is read once a second."""

TOGETHER = 2
EVERY = 0.02
"""Seconds from one nudge to the next."""

WITHIN = 60.0


def run(bench: Bench) -> None:
    with FakeAlloy() as alloy, sink(noting=True) as bus, temporary_installation(alloy.url, bus.url) as installation:
        workflows = [f"w-{number}" for number in range(WORKFLOWS)]
        for workflow in workflows:
            alloy.api.add_workflow(workflow)
        installation.change("source", workflows=workflows, min_interval="1h", max_interval="1h")
        with installation.start() as daemon:
            door = create_webhook(installation, web_address(daemon))
            daemon.wait_until(lambda: metric(web_address(daemon), "poll_duration_seconds_count") == WORKFLOWS)
            # Once the way to the bus is open, which a daemon that runs has behind it.
            _storm(alloy, door, workflows[:1], nudges=1, name="first")
            _accepted(bus, TOGETHER)
            visible_at = _storm(alloy, door, workflows, nudges=150 if bench.quick else 1000)
            accepted_at = _accepted(bus, TOGETHER + len(visible_at))
    took = [1000 * (accepted_at[execution_id] - visible_at[execution_id]) for execution_id in visible_at]
    found = bench.quantiles("From visible to accepted", "ms", {"forwarder": took})["forwarder"]
    bench.goal(5, "median at 100 failures a second", found[50], unit="ms", at_most=50)
    bench.goal(5, "p99 at 100 failures a second", found[99], unit="ms", at_most=250)
    bench.goal(8, "nudge to acceptance, median", found[50], unit="ms", at_most=100)


def _storm(alloy: FakeAlloy, door: str, workflows: list[str], nudges: int, name: str = "e") -> dict[str, float]:
    """When each execution became visible."""
    where = urlsplit(door)
    connection = http.client.HTTPConnection(where.netloc, timeout=WITHIN)
    visible_at: dict[str, float] = {}
    began = time.perf_counter()
    for number in range(nudges):
        time.sleep(max(0.0, began + number * EVERY - time.perf_counter()))
        workflow = workflows[number % len(workflows)]
        ids = [f"{name}-{number}-{each}" for each in range(TOGETHER)]
        visible_at.update(dict.fromkeys(ids, time.perf_counter()))
        fail(alloy, *ids, workflow=workflow, ago=1)
        while _nudge(connection, where.path, workflow) == http.client.TOO_MANY_REQUESTS:
            time.sleep(EVERY)
    connection.close()
    return visible_at


def _nudge(connection: http.client.HTTPConnection, door: str, workflow: str) -> int:
    connection.request("POST", door, json.dumps({"workflowId": workflow}))
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _accepted(bus: Sink, count: int) -> dict[str, float]:
    assert eventually(lambda: len(bus.accepted()) == count, within=WITHIN)
    return bus.accepted()
