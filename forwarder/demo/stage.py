"""The stage of the demo: all that runs, set up as a person would do it, and taken down whatever happens."""

import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from forwarder.demo.aws import REGION, EmulatedAws
from forwarder.demo.logs_api import LogsApi
from forwarder.demo.process import Forwarder
from forwarder.demo.screen import Screen
from forwarder.demo.serve import LogsServer
from forwarder.demo.watch import Watch
from forwarder.demo.world import BUSY, OF_ONE_USER, USER, WORKFLOWS, World

# Few, so that a kill in a burst finds something to interrupt.
REQUESTS_IN_FLIGHT = 2

# Everything is read more often than it would be against the real API, so that the story is short.
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
deep_interval = "1s"
requests_per_second = 200
timeout = "5s"

[destination]
event_bus = "$event_bus"
region = "$region"
endpoint_url = "$endpoint_url"
concurrency = $concurrency
timeout = "5s"

[web]
listen = ""

[run]
shutdown_grace = "5s"
""")


@dataclass(frozen=True, slots=True)
class Stage:
    screen: Screen
    world: World
    logs: LogsServer
    aws: EmulatedAws
    forwarder: Forwarder
    watch: Watch

    def everything_arrived(self) -> bool:
        return self.watch.arrived.keys() >= frozenset(self.world.failed)


@contextmanager
def set_stage(screen: Screen) -> Iterator[Stage]:
    """Both servers up, the forwarder's files made by its own verbs, the daemon not yet started.

    Raises UsageError without moto, StoryError when a verb fails. Nothing is left behind.
    """
    with ExitStack() as closing:
        directory = closing.enter_context(tempfile.TemporaryDirectory(prefix="forwarder-demo-"))
        api = LogsApi(api_key=secrets.token_urlsafe(24), now=lambda: datetime.now(UTC))
        world = World(api)
        with screen.busy("Starting a logs API, an event bus and a queue on this machine …"):
            logs = closing.enter_context(LogsServer(api, fail=lambda query: _fail(world, query)))
            aws = closing.enter_context(EmulatedAws())
        screen.flow(("logs API", _host(logs.base_url)), ("forwarder", ""), ("event bus", aws.event_bus), ("queue", ""))
        forwarder = Forwarder(Path(directory))
        closing.callback(forwarder.stop)
        _prepare(screen, forwarder, logs, aws)
        yield Stage(screen, world, logs, aws, forwarder, Watch(aws, forwarder, screen, world.secret))


def _host(url: str) -> str:
    return url.removeprefix("http://")


def _prepare(screen: Screen, forwarder: Forwarder, logs: LogsServer, aws: EmulatedAws) -> None:
    screen.command("forwarder init")
    forwarder.verb("init")
    forwarder.write_settings(_settings(logs, aws))
    for name, value in (
        ("alloy-api-key", logs.api.api_key),
        ("aws-access-key-id", aws.access_key_id),
        ("aws-secret-access-key", aws.secret_access_key),
    ):
        screen.command(f"forwarder keys set {name}")
        forwarder.verb("keys", "set", name, stdin=value + "\n")


def _settings(logs: LogsServer, aws: EmulatedAws) -> str:
    lines = {workflow: f'  "{workflow}",' for workflow in WORKFLOWS}
    lines[OF_ONE_USER] = f'  {{ id = "{OF_ONE_USER}", user_id = "{USER}" }},'
    return _SETTINGS.substitute(
        base_url=logs.base_url,
        workflows="\n".join(lines.values()),
        event_bus=aws.event_bus,
        region=REGION,
        concurrency=REQUESTS_IN_FLIGHT,
        endpoint_url=aws.endpoint_url,
    )


def _fail(world: World, query: Mapping[str, str]) -> dict[str, str]:
    """What `POST /demo/fail` does. Raises ValueError for a workflow that nobody watches."""
    workflow = query.get("workflow", BUSY)
    if workflow not in WORKFLOWS:
        raise ValueError(f"the workflows are {', '.join(WORKFLOWS)}")
    return {"workflowId": workflow, "executionId": world.fail(workflow, query.get("message", ""))}
