"""The environment of the demo: the servers and the forwarder, set up as a user does it, and always torn down."""

import secrets
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from forwarder.demo.console import ConsoleOutput
from forwarder.demo.consumer import Consumer
from forwarder.demo.daemon_process import ForwarderProcess
from forwarder.demo.fake_alloy import FakeAlloyApi
from forwarder.demo.fake_alloy_server import FakeAlloyServer
from forwarder.demo.fake_aws import REGION, FakeAws
from forwarder.demo.workload import BUSY_WORKFLOW, USER_ID, USER_WORKFLOW, WORKFLOWS, Workload

# The number is small, so that a kill during a burst interrupts requests in flight.
REQUESTS_IN_FLIGHT = 2

# Polls are more frequent than against the real API, so that the demo is short.
_SETTINGS = Template("""\
# The settings of `forwarder demo`. Try it: turn the next line to false, and back.
enabled = true

[source]
base_url = "$base_url"
workflows = [
$workflows
]
start_from = "beginning"
min_interval = "200ms"
max_interval = "500ms"
full_scan_interval = "1s"
requests_per_second = 200
timeout = "5s"

[destination]
event_bus = "$event_bus"
region = "$region"
endpoint_url = "$endpoint_url"
concurrency = $concurrency
timeout = "5s"

[web]
listen = "$listen"

[run]
shutdown_grace = "5s"
""")


@dataclass(frozen=True, slots=True)
class Environment:
    """A running environment. `web_url` is the URL of the daemon's web UI, and `token` is its admin token."""

    output: ConsoleOutput
    workload: Workload
    logs: FakeAlloyServer
    aws: FakeAws
    forwarder: ForwarderProcess
    consumer: Consumer
    web_url: str
    token: str = field(repr=False)

    def has_everything_arrived(self) -> bool:
        return self.consumer.arrived.keys() >= frozenset(self.workload.failed)


@contextmanager
def start_environment(output: ConsoleOutput) -> Iterator[Environment]:
    """Start both servers, and create the forwarder's files with its own commands. The daemon is not started yet.

    Raise UsageError if moto is not installed, or DemoError if a command fails. All files are deleted at the end.
    """
    with ExitStack() as exit_stack:
        directory = exit_stack.enter_context(tempfile.TemporaryDirectory(prefix="forwarder-demo-"))
        api = FakeAlloyApi(api_key=secrets.token_urlsafe(24), now=lambda: datetime.now(UTC))
        workload = Workload(api)
        with output.busy("Starting a logs API, an event bus and a queue on this machine …"):
            logs = exit_stack.enter_context(FakeAlloyServer(api, fail=lambda query: _add_failure(workload, query)))
            aws = exit_stack.enter_context(FakeAws())
        output.flow(("logs API", _host(logs.base_url)), ("forwarder", ""), ("event bus", aws.event_bus), ("queue", ""))
        forwarder = ForwarderProcess(Path(directory))
        exit_stack.callback(forwarder.stop)
        listen = _free_address()
        token = _create_forwarder_files(
            output,
            forwarder,
            _settings(logs, aws, listen),
            {
                "alloy-api-key": api.api_key,
                "aws-access-key-id": aws.access_key_id,
                "aws-secret-access-key": aws.secret_access_key,
            },
        )
        consumer = Consumer(aws, forwarder, output, workload.secret)
        yield Environment(output, workload, logs, aws, forwarder, consumer, f"http://{listen}", token)


def _host(url: str) -> str:
    return url.removeprefix("http://")


def _free_address() -> str:
    """Return `127.0.0.1` with a free port. Each daemon of the demo listens there, also after a restart."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
    return f"{host}:{port}"


def _create_forwarder_files(
    output: ConsoleOutput, forwarder: ForwarderProcess, settings: str, keys: Mapping[str, str]
) -> str:
    """Create the settings, the keys and the login token. Return the token."""
    output.command("forwarder init")
    forwarder.run_command("init")
    forwarder.write_settings(settings)
    for name, value in keys.items():
        output.command(f"forwarder keys set {name}")
        forwarder.run_command("keys", "set", name, stdin=value + "\n")
    output.command("forwarder web create-token")
    return forwarder.run_command("web", "create-token").strip()


def _settings(logs: FakeAlloyServer, aws: FakeAws, listen: str) -> str:
    lines = {workflow: f'  "{workflow}",' for workflow in WORKFLOWS}
    lines[USER_WORKFLOW] = f'  {{ id = "{USER_WORKFLOW}", user_id = "{USER_ID}" }},'
    return _SETTINGS.substitute(
        base_url=logs.base_url,
        workflows="\n".join(lines.values()),
        event_bus=aws.event_bus,
        region=REGION,
        concurrency=REQUESTS_IN_FLIGHT,
        endpoint_url=aws.endpoint_url,
        listen=listen,
    )


def _add_failure(workload: Workload, query: Mapping[str, str]) -> dict[str, str]:
    """Add the failure that `POST /demo/fail` requests, and return its ids. Raise ValueError for an unknown workflow."""
    workflow = query.get("workflow", BUSY_WORKFLOW)
    if workflow not in WORKFLOWS:
        raise ValueError(f"the workflows are {', '.join(WORKFLOWS)}")
    return {"workflowId": workflow, "executionId": workload.fail(workflow, query.get("message", ""))}
