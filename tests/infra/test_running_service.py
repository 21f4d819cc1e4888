"""The tasks of `service.yaml` as processes: they share a real ledger, and an update leaves no gap.

The stack is on moto and the ledger on dynalite, whose conditions are atomic. The containers run as processes with the
command and the environment of the template. ECS itself, which starts and stops them, is not tested.
"""

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import alloy, bus
from tests.e2e.harness import fail, numbered, sent
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import BUS, KEY, REGION, StrictEventBridge
from tests.harness.dynalite import new_ledger_url
from tests.harness.ports import free_port
from tests.harness.process import ForwarderProcess
from tests.infra.service import Task, containers, deploy_service
from tests.infra.templates import moto

__all__ = ["alloy", "bus"]

pytestmark = [
    pytest.mark.dynamodb,
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto:UserWarning"),
]


@pytest.fixture(scope="module")
def task_containers() -> dict[str, Any]:
    """Return the containers of the task, with the URL of a new ledger."""
    url = f"{new_ledger_url()}&prefix=orders"
    with moto() as aws:
        return containers(aws, deploy_service(aws, LedgerUrl=url, EventBus=BUS, EventBusRegion=REGION))


class Service:
    """Tasks of a service that run as processes, each with storage of its own."""

    def __init__(self, folder: Path, containers: dict[str, Any], overrides: dict[str, str], stack: ExitStack) -> None:
        self._folder, self._containers, self._overrides, self._stack = folder, containers, overrides, stack
        self._started = 0

    def start(self) -> tuple[Task, ForwarderProcess]:
        """Start a task, and wait until its health check passes."""
        task, daemon = self.start_unchecked()
        daemon.wait_until(lambda: is_healthy(task))
        return task, daemon

    def start_unchecked(self, **variables: str) -> tuple[Task, ForwarderProcess]:
        """Start a task with further variables."""
        self._started += 1
        folder = self._folder / f"task-{self._started}"
        folder.mkdir()
        overrides = self._overrides | {"FORWARDER_WEB__LISTEN": f"127.0.0.1:{free_port()}"} | variables
        task = Task(folder, self._containers, overrides)
        task.seal_keys(API_KEY)
        log_file = folder / "log.jsonl"
        with log_file.open("wb") as log:
            environment = task.environment("forwarder")
            process = subprocess.Popen(task.command("forwarder"), env=environment, cwd=folder, stdout=log, stderr=log)  # noqa: S603  # of the template
        return task, self._stack.enter_context(ForwarderProcess(process, log_file))


def is_healthy(task: Task) -> bool:
    """Return whether the health check of the template passes."""
    return health(task).returncode == 0


def health(task: Task) -> subprocess.CompletedProcess[str]:
    """Run the health check of the template."""
    _, *command = task.containers["forwarder"]["healthCheck"]["command"]
    environment = task.environment("forwarder")
    return subprocess.run(command, env=environment, cwd=task.folder, check=False, capture_output=True, text=True)  # noqa: S603  # of the template


@pytest.fixture
def service(
    tmp_path: Path, alloy: FakeAlloy, bus: StrictEventBridge, task_containers: dict[str, Any]
) -> Iterator[Service]:
    overrides = {
        "AWS_ACCESS_KEY_ID": KEY.id,
        "AWS_SECRET_ACCESS_KEY": KEY.secret,
        "FORWARDER_SOURCE__BASE_URL": alloy.url,
        "FORWARDER_SOURCE__START_FROM": "beginning",
        "FORWARDER_SOURCE__MIN_INTERVAL": "100ms",
        "FORWARDER_SOURCE__MAX_INTERVAL": "300ms",
        "FORWARDER_SOURCE__REQUESTS_PER_SECOND": "500",
        "FORWARDER_DESTINATION__ENDPOINT_URL": bus.url,
        "FORWARDER_LEDGER__HEARTBEAT_INTERVAL": "1s",  # a process that stands still for five of them is taken over
    }
    with ExitStack() as stack:
        yield Service(tmp_path, task_containers, overrides, stack)


def test_update_of_the_service_loses_and_repeats_nothing(
    service: Service, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """All new tasks are healthy before an old one is stopped, as the percentages of the deployment demand."""
    ids = numbered(30)
    old = [service.start(), service.start()]
    fail(alloy, *ids[:10])
    old[0][1].wait_until(lambda: set(sent(bus)) >= set(ids[:10]))
    new = [service.start(), service.start()]
    fail(alloy, *ids[10:20])
    assert [daemon.stop(within=45) for _, daemon in old] == [0, 0]
    fail(alloy, *ids[20:])
    new[0][1].wait_until(lambda: set(sent(bus)) >= set(ids))
    assert [daemon.stop(within=45) for _, daemon in new] == [0, 0]
    assert Counter(sent(bus)) == Counter(ids)


def test_task_that_cannot_publish_is_never_healthy(service: Service) -> None:
    """The update is rolled back, instead of replacing the tasks that work."""
    task, daemon = service.start_unchecked(FORWARDER_DESTINATION__EVENT_BUS="misspelled")
    daemon.wait_until(lambda: health(task).stderr.startswith("error: unhealthy: ") and "bus is" in health(task).stderr)
    assert daemon.is_running
    assert not is_healthy(task)
    assert daemon.stop() == 0


def test_task_keeps_no_secret_in_its_environment(service: Service) -> None:
    task, daemon = service.start()
    environment = Path(f"/proc/{daemon.pid}/environ").read_bytes()
    assert API_KEY.encode() not in environment
    assert not [path for path in task.folder.iterdir() if API_KEY.encode() in path.read_bytes()]
    assert daemon.stop() == 0
