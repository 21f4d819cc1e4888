"""Latency: from the appearance of a failure in the API to its acceptance by the bus, at a hundred failures a second.

Two executions of a workflow fail at once, and one webhook call announces them. The webhook accepts 50 calls a second.
The daemon and the bus are separate processes, and share the machine with the fake of Alloy in this one.
"""

import http.client
import json
import time
from urllib.parse import urlsplit

from tests.benchmarks.bench import Bench
from tests.benchmarks.bench_page import temporary_installation
from tests.benchmarks.sink import Sink, start_sink
from tests.e2e.harness import fail
from tests.e2e.web_client import create_webhook, metric, web_address
from tests.fakes.alloy import FakeAlloy
from tests.harness.process import eventually

GOALS = (5, 8)

WORKFLOWS = 100
"""The workflows that are announced in turns, each every two seconds. A feed is polled at most once a second."""

FAILURES_PER_CALL = 2
CALL_INTERVAL_SECONDS = 0.02
"""The interval of the webhook calls."""

MAX_WAIT_SECONDS = 60.0


def run(bench: Bench) -> None:
    with (
        FakeAlloy() as alloy,
        start_sink(record_times=True) as bus,
        temporary_installation(alloy.url, bus.url) as installation,
    ):
        workflows = [f"w-{number}" for number in range(WORKFLOWS)]
        for workflow in workflows:
            alloy.api.add_workflow(workflow)
        installation.change("source", workflows=workflows, min_interval="1h", max_interval="1h")
        with installation.start() as daemon:
            webhook = create_webhook(installation, web_address(daemon))
            daemon.wait_until(lambda: metric(web_address(daemon), "poll_duration_seconds_count") == WORKFLOWS)
            # The first event opens the connection to the bus, which a running daemon has already.
            _storm(alloy, webhook, workflows[:1], calls=1, name="first")
            _accepted(bus, FAILURES_PER_CALL)
            visible_at = _storm(alloy, webhook, workflows, calls=150 if bench.quick else 1000)
            accepted_at = _accepted(bus, FAILURES_PER_CALL + len(visible_at))
    took = [1000 * (accepted_at[execution_id] - visible_at[execution_id]) for execution_id in visible_at]
    found = bench.quantiles("From visible to accepted", "ms", {"forwarder": took})["forwarder"]
    bench.goal(5, "median at 100 failures a second", found[50], unit="ms", at_most=50)
    bench.goal(5, "p99 at 100 failures a second", found[99], unit="ms", at_most=250)
    bench.goal(8, "webhook call to acceptance, median", found[50], unit="ms", at_most=100)


def _storm(alloy: FakeAlloy, webhook: str, workflows: list[str], calls: int, name: str = "e") -> dict[str, float]:
    """Fail executions and announce them. Return when each became visible."""
    where = urlsplit(webhook)
    connection = http.client.HTTPConnection(where.netloc, timeout=MAX_WAIT_SECONDS)
    visible_at: dict[str, float] = {}
    began = time.perf_counter()
    for number in range(calls):
        time.sleep(max(0.0, began + number * CALL_INTERVAL_SECONDS - time.perf_counter()))
        workflow = workflows[number % len(workflows)]
        ids = [f"{name}-{number}-{each}" for each in range(FAILURES_PER_CALL)]
        visible_at.update(dict.fromkeys(ids, time.perf_counter()))
        fail(alloy, *ids, workflow=workflow, ago=1)
        while _call_webhook(connection, where.path, workflow) == http.client.TOO_MANY_REQUESTS:
            time.sleep(CALL_INTERVAL_SECONDS)
    connection.close()
    return visible_at


def _call_webhook(connection: http.client.HTTPConnection, webhook: str, workflow: str) -> int:
    connection.request("POST", webhook, json.dumps({"workflowId": workflow}))
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _accepted(bus: Sink, count: int) -> dict[str, float]:
    assert eventually(lambda: len(bus.accepted_at()) == count, within=MAX_WAIT_SECONDS)
    return bus.accepted_at()
