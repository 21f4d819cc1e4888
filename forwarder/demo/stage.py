"""The stage of the demo: all that runs, set up as a person would do it, and taken down whatever happens."""

import secrets
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
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
listen = "$listen"

[run]
shutdown_grace = "5s"
""")


@dataclass(frozen=True, slots=True)
class Stage:
    """`page` is the address of the daemon's page, `token` what lets in there."""

    screen: Screen
    world: World
    logs: LogsServer
    aws: EmulatedAws
    forwarder: Forwarder
    watch: Watch
    page: str
    token: str = field(repr=False)

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
        listen = _free_address()
        token = _prepare(
            screen,
            forwarder,
            _settings(logs, aws, listen),
            {
                "alloy-api-key": api.api_key,
                "aws-access-key-id": aws.access_key_id,
                "aws-secret-access-key": aws.secret_access_key,
            },
        )
        watch = Watch(aws, forwarder, screen, world.secret)
        yield Stage(screen, world, logs, aws, forwarder, watch, f"http://{listen}", token)


def _host(url: str) -> str:
    return url.removeprefix("http://")


def _free_address() -> str:
    """Of this machine, and the same for every daemon of the story."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
    return f"{host}:{port}"


def _prepare(screen: Screen, forwarder: Forwarder, settings: str, keys: Mapping[str, str]) -> str:
    """Settings, keys, and the token to log in with, which is returned."""
    screen.command("forwarder init")
    forwarder.verb("init")
    forwarder.write_settings(settings)
    for name, value in keys.items():
        screen.command(f"forwarder keys set {name}")
        forwarder.verb("keys", "set", name, stdin=value + "\n")
    screen.command("forwarder web token")
    return forwarder.verb("web", "token").strip()


def _settings(logs: LogsServer, aws: EmulatedAws, listen: str) -> str:
    lines = {workflow: f'  "{workflow}",' for workflow in WORKFLOWS}
    lines[OF_ONE_USER] = f'  {{ id = "{OF_ONE_USER}", user_id = "{USER}" }},'
    return _SETTINGS.substitute(
        base_url=logs.base_url,
        workflows="\n".join(lines.values()),
        event_bus=aws.event_bus,
        region=REGION,
        concurrency=REQUESTS_IN_FLIGHT,
        endpoint_url=aws.endpoint_url,
        listen=listen,
    )


def _fail(world: World, query: Mapping[str, str]) -> dict[str, str]:
    """What `POST /demo/fail` does. Raises ValueError for a workflow that nobody watches."""
    workflow = query.get("workflow", BUSY)
    if workflow not in WORKFLOWS:
        raise ValueError(f"the workflows are {', '.join(WORKFLOWS)}")
    return {"workflowId": workflow, "executionId": world.fail(workflow, query.get("message", ""))}
