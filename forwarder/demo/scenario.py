"""The scenario of `forwarder demo`: failed executions go from a fake API to a fake bus through the real daemon."""

import shlex
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from forwarder.demo import scenario_steps
from forwarder.demo.console import ConsoleOutput
from forwarder.demo.daemon_process import Counters, DemoError, shown_program
from forwarder.demo.environment import REQUESTS_IN_FLIGHT, Environment, start_environment
from forwarder.demo.report import Report
from forwarder.demo.workload import BUSY_WORKFLOW, WORKFLOWS
from forwarder.errors import INTERRUPTED_EXIT_CODE

_TITLE = "From a failed workflow to an event bus"
_SUBTITLE = "The real daemon between a local logs API and an emulated AWS; nothing leaves this machine."


def run_demo(console: Console, *, keep: bool) -> int:
    """Run the demo and return the exit code. It is 0 only if all numbers agree and the daemon exited with 0.

    With `keep`, everything keeps running until Ctrl-C. Raise UsageError if moto is not installed.
    """
    output = ConsoleOutput(console, workflow_width=max(map(len, WORKFLOWS)))
    output.title(_TITLE, _SUBTITLE)
    try:
        with _terminate_like_ctrl_c(), start_environment(output) as environment, _show_log_on_failure(environment):
            return run_scenario(environment, keep=keep)
    except DemoError as error:
        output.error(error.message)
        return 1
    except KeyboardInterrupt:
        output.note("Interrupted; stopping everything.")
        return INTERRUPTED_EXIT_CODE


def run_scenario(environment: Environment, *, keep: bool) -> int:
    """Run all steps in an environment, and return 0. Raise DemoError if a result is wrong."""
    started_at, output = time.monotonic(), environment.output
    if keep:
        output.note("The web UI, to follow the demo and to use afterwards:")
        _show_web_ui(environment)
    long_running_id = environment.workload.create_history()
    scenario_steps.forward_existing_failures(environment)
    scenario_steps.shift_pages(environment, long_running_id)
    scenario_steps.disable_and_enable(environment)
    in_flight_at_kill = scenario_steps.kill_during_burst(environment)
    report = _make_report(environment, in_flight_at_kill)
    output.table(report.rows())
    if mismatches := report.mismatches():
        raise DemoError(" ".join(mismatches))
    twice = f", {report.duplicates} twice because of the kill" if report.duplicates else ""
    seconds = time.monotonic() - started_at
    output.result(f"The numbers agree: every failure arrived{twice}, and nothing else. {seconds:.0f} s.")
    if keep:
        _stay_up(environment)
    code, seconds = environment.forwarder.stop()
    if code:
        raise DemoError(f"The daemon exited with code {code} after SIGTERM.")
    output.result(f"SIGTERM: the daemon ended with exit code 0 in {seconds:.1f} s.")
    return 0


def _make_report(environment: Environment, in_flight_at_kill: frozenset[str]) -> Report:
    environment.output.step("The numbers.")
    counters = _settled_counters(environment)
    environment.consumer.drain()
    return Report(
        listed=len(environment.workload.listed),
        failed=frozenset(environment.workload.failed),
        arrived=dict(environment.consumer.arrived),
        in_flight_at_kill=in_flight_at_kill,
        requests_in_flight=REQUESTS_IN_FLIGHT,
        counters=counters,
        leaked=environment.consumer.leaked,
    )


def _settled_counters(environment: Environment) -> Counters:
    """Wait until no entry is pending, and return the counters. An event is settled a moment after it was sent."""
    deadline = time.monotonic() + 10
    while (counters := environment.forwarder.counters()).pending and time.monotonic() < deadline:
        environment.consumer.consume_for(0.2)
    return counters


def _stay_up(environment: Environment) -> None:
    """Print the addresses, and keep everything running until Ctrl-C."""
    output, settings = environment.output, environment.forwarder.settings_file
    program = f"{shown_program()} -c {shlex.quote(str(settings))}"
    output.step("Everything keeps running until Ctrl-C. Open the web UI, log in with the token, and try it:")
    _show_web_ui(environment)
    output.addresses(
        [
            ("logs API", environment.logs.base_url),
            ("AWS", environment.aws.endpoint_url),
            ("event bus", environment.aws.event_bus),
            ("queue", environment.aws.queue_url),
            ("settings", str(settings)),
            ("daemon's log", str(environment.forwarder.log_file)),
            (
                "make one fail",
                f"curl -X POST '{environment.logs.base_url}/demo/fail?workflow={BUSY_WORKFLOW}&message=out+of+tea'",
            ),
            ("switch off", f"{program} disable"),
            ("show status", f"{program} status"),
        ]
    )
    try:
        while True:
            environment.consumer.consume_for(1)
            if (code := environment.forwarder.exit_code()) is not None:
                output.note(f"The daemon ended with exit code {code}. Restart it: {program} run")
    except KeyboardInterrupt:
        output.note("Ctrl-C: stopping everything.")


def _show_web_ui(environment: Environment) -> None:
    environment.output.addresses([("web UI", environment.web_url), ("token", environment.token)])


@contextmanager
def _show_log_on_failure(environment: Environment) -> Iterator[None]:
    try:
        yield
    except Exception:
        environment.output.log(environment.forwarder.log_tail())
        raise


@contextmanager
def _terminate_like_ctrl_c() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP as Ctrl-C during the block, so that no daemon is left running."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
