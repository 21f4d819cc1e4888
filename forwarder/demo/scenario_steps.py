"""The steps of the demo. Each step changes something, waits for the effect, and prints the result."""

from collections.abc import Mapping

from forwarder.demo.daemon_process import DemoError
from forwarder.demo.environment import Environment
from forwarder.demo.workload import BUSY_WORKFLOW, VARIANT_WORKFLOWS

_FAILURES_BETWEEN_PAGES = 8
_FAILURES_WHILE_DISABLED = 5
_BURST_FAILURES, _ARRIVED_BEFORE_KILL, _FAILURES_AFTER_KILL = 48, 12, 12
_DISABLED_SECONDS = 1.5
_IDLE_SECONDS = 0.8  # longer than the longest interval between two polls
_WORKFLOWS = (BUSY_WORKFLOW, *VARIANT_WORKFLOWS.values())


def forward_existing_failures(environment: Environment) -> None:
    workload, output = environment.workload, environment.output
    output.step(
        f"{len(workload.listed)} executions are listed, {len(workload.failed)} of them failed. The daemon starts."
    )
    output.command("forwarder run")
    environment.forwarder.start()
    seconds = environment.consumer.consume_until(environment.has_everything_arrived, "the arrival of all failures")
    output.result(
        f"{len(workload.failed)} events, {seconds:.1f} s after the start. Other executions are not published."
    )


def shift_pages(environment: Environment, long_running_id: str) -> None:
    """Fail one more execution before each further page, so that all others move down by one."""
    workload, output, logs = environment.workload, environment.output, environment.logs
    output.step(
        f"Pages shift while they are read: {_FAILURES_BETWEEN_PAGES} more fail in between. A long run fails, too."
    )
    failed_between_pages: list[str] = []

    def shift(path: str, query: Mapping[str, str]) -> None:
        further = path.endswith(f"/{BUSY_WORKFLOW}/logs") and query.get("page", "0") != "0"
        if further and len(failed_between_pages) < _FAILURES_BETWEEN_PAGES:
            failed_between_pages.append(workload.fail(BUSY_WORKFLOW))

    logs.before_response = shift
    workload.fail_running(long_running_id)
    seconds = environment.consumer.consume_until(
        lambda: len(failed_between_pages) == _FAILURES_BETWEEN_PAGES and environment.has_everything_arrived(),
        "the arrival of what failed while pages were read",
    )
    logs.before_response = None
    output.result(f"{_FAILURES_BETWEEN_PAGES + 1} events in {seconds:.1f} s, {environment.consumer.duplicates} twice.")


def disable_and_enable(environment: Environment) -> None:
    workload, output, logs, consumer = environment.workload, environment.output, environment.logs, environment.consumer
    output.step(f"Switched off in the settings file; {_FAILURES_WHILE_DISABLED} fail meanwhile.")
    output.edit("forwarder.toml", "enabled = true", "enabled = false")
    environment.forwarder.set_enabled(enabled=False)
    consumer.consume_until(lambda: logs.idle_seconds > _IDLE_SECONDS, "the end of polling")
    requests = logs.requests
    for number in range(_FAILURES_WHILE_DISABLED):
        workload.fail(_WORKFLOWS[number % len(_WORKFLOWS)])
    arrived = consumer.consume_for(_DISABLED_SECONDS)
    requests = logs.requests - requests
    if arrived or requests:
        raise DemoError(f"while switched off, the daemon sent {arrived} events and {requests} requests to the logs API")
    output.result(f"{_DISABLED_SECONDS} s: 0 events, 0 requests to the logs API.")
    output.step("Switched on again.")
    output.edit("forwarder.toml", "enabled = false", "enabled = true")
    environment.forwarder.set_enabled(enabled=True)
    seconds = consumer.consume_until(environment.has_everything_arrived, "the catching up")
    output.result(f"Caught up with {_FAILURES_WHILE_DISABLED} events in {seconds:.1f} s.")


def kill_during_burst(environment: Environment) -> frozenset[str]:
    """Kill the daemon during a burst, and restart it. Return the executions that may have been in flight."""
    workload, output, consumer = environment.workload, environment.output, environment.consumer
    output.step(
        f"{_BURST_FAILURES + _FAILURES_AFTER_KILL} fail at once; the daemon is killed meanwhile and started again."
    )
    before = frozenset(workload.failed)
    for number in range(_BURST_FAILURES):
        workload.fail(_WORKFLOWS[number % len(_WORKFLOWS)])
    consumer.wait_for_queued(_ARRIVED_BEFORE_KILL, "the first arrivals of the burst")
    output.command(f"kill -9 {environment.forwarder.kill()}")
    for number in range(_FAILURES_AFTER_KILL):
        workload.fail(_WORKFLOWS[number % len(_WORKFLOWS)])
    arrived_before = len(consumer.arrived)
    counters = environment.forwarder.counters()
    consumer.drain()
    recorded, came = counters.recorded - len(before), len(consumer.arrived) - arrived_before
    output.note(f"Its counters: {recorded} of them recorded, {counters.pending} still pending. In the queue: {came}.")
    output.command("forwarder run")
    arrived_before = len(consumer.arrived)
    environment.forwarder.start()
    seconds = consumer.consume_until(environment.has_everything_arrived, "the arrival of what failed around the kill")
    output.result(
        f"Nothing is lost: the other {len(consumer.arrived) - arrived_before} arrived {seconds:.1f} s after the start."
    )
    return frozenset(workload.failed) - before
