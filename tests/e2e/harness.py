"""Helpers of the end-to-end tests: list failures, and read what the two fakes received."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from forwarder.demo.sample_data import Outcome, execution
from tests.fakes.alloy import FakeAlloy
from tests.fakes.bus_faults import Fault
from tests.fakes.eventbridge import StrictEventBridge, operation_of
from tests.fakes.wire import Request
from tests.harness.installation import Installation


def fail(
    alloy: FakeAlloy,
    *ids: str,
    workflow: str = "w",
    outcome: Outcome = "failed-status",
    ago: float = 60,
    **options: Any,
) -> None:
    """List executions that failed so many seconds ago, each a little later than the one before."""
    for number, id_ in enumerate(ids):
        started = alloy.api.now() - timedelta(seconds=ago) + timedelta(milliseconds=number)
        alloy.api.add(workflow, execution(outcome, id=id_, started=started, **options))


def numbered(count: int, prefix: str = "x") -> list[str]:
    return [f"{prefix}{number:03}" for number in range(count)]


def sent(bus: StrictEventBridge) -> list[str]:
    """Return the sorted executionIds of all delivered events, including duplicates."""
    return sorted(event.detail["executionId"] for event in list(bus.delivered))


def detail(bus: StrictEventBridge, id_: str) -> Any:
    """Return the detail of the one event of this execution."""
    (event,) = [event for event in bus.delivered if event.detail["executionId"] == id_]
    return event.detail


def polls(alloy: FakeAlloy, workflow: str = "w") -> int:
    """Return the number of requests for the logs of the workflow."""
    return sum(request.path.endswith(f"/{workflow}/logs") for request in list(alloy.requests))


def pages(alloy: FakeAlloy, workflow: str = "w") -> list[dict[str, str]]:
    """Return the queries of the polls of the workflow, in order."""
    return [request.query for request in list(alloy.requests) if request.path.endswith(f"/{workflow}/logs")]


def publishing(fault: Fault) -> Callable[[Request], Fault | None]:
    """Return a rule for the bus: each `PutEvents` fails with this fault, and nothing else does."""
    return lambda request: fault if operation_of(request) == "PutEvents" else None


def watermark(installation: Installation, workflow: str = "w") -> str | None:
    """Return the watermark of the workflow that `status` shows."""
    feeds = installation.run_command("status", "--json").json()["feeds"]
    marks: list[str | None] = [feed["watermark"] for feed in feeds if feed["workflow_id"] == workflow]
    return marks[0] if marks else None
