"""The demo's source as a separate process: `python -m forwarder.demo.container_source FOLDER`.

It creates a bus with a queue on an emulated AWS that is already running. In FOLDER it creates the settings and keys of
a forwarder, and then a file `ready`. After that, one more execution fails every few seconds, until the process ends.
"""

import argparse
import secrets
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from forwarder.demo.daemon_process import DemoError, ForwarderProcess
from forwarder.demo.fake_alloy import FakeAlloyApi
from forwarder.demo.fake_alloy_server import FakeAlloyServer
from forwarder.demo.workload import BUSY_WORKFLOW, Workload

REGION = "us-east-1"
BUS = QUEUE = "alloy-failures"
KEYS = ("AKIADEMO000000000000", "demo")
"""AWS keys with any value. The emulated AWS does not check them."""

_MAX_START_SECONDS = 60.0
_SETTINGS = Template("""\
# The settings of the demo in containers. Try it: turn the next line to false, and back.
enabled = true

[source]
base_url = "$base_url"
workflows = ["$workflow"]
start_from = "beginning"
min_interval = "500ms"
max_interval = "1s"

[destination]
event_bus = "$bus"
region = "$region"
endpoint_url = "$aws"
""")


def serve(folder: Path, *, port: int, aws: str, every: float, stop: threading.Event) -> None:
    """Serve the logs API until `stop` is set. Raise DemoError if AWS does not respond, or if a command fails."""
    ready = folder / "ready"
    ready.unlink(missing_ok=True)
    api = FakeAlloyApi(api_key=secrets.token_urlsafe(24), now=lambda: datetime.now(UTC))
    workload = Workload(api)
    with FakeAlloyServer(api, port=port) as logs:
        _create_bus(aws)
        _create_forwarder_files(ForwarderProcess(folder), logs, aws)
        workload.create_history()
        ready.touch()
        while not stop.wait(every):
            workload.fail(BUSY_WORKFLOW)


def _create_bus(aws: str) -> None:
    session = boto3.Session(*KEYS, region_name=REGION)
    options = {"endpoint_url": aws, "config": Config(retries={"total_max_attempts": 1}, proxies={})}
    events: Any = session.client("events", **options)
    sqs: Any = session.client("sqs", **options)
    deadline = time.monotonic() + _MAX_START_SECONDS
    while True:
        try:
            buses = events.list_event_buses()["EventBuses"]
        except BotoCoreError as error:
            if time.monotonic() > deadline:
                raise DemoError(f"there is no AWS at {aws}: {error}") from None
            time.sleep(0.2)
        else:
            break
    if BUS in {bus["Name"] for bus in buses}:
        return
    events.create_event_bus(Name=BUS)
    url = sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=QUEUE, EventBusName=BUS, EventPattern='{"source": ["alloy.embedded"]}')
    events.put_targets(Rule=QUEUE, EventBusName=BUS, Targets=[{"Id": "queue", "Arn": queue}])


def _create_forwarder_files(forwarder: ForwarderProcess, logs: FakeAlloyServer, aws: str) -> None:
    if not forwarder.settings_file.exists():
        forwarder.run_command("init")
        forwarder.write_settings(
            _SETTINGS.substitute(base_url=logs.base_url, workflow=BUSY_WORKFLOW, bus=BUS, region=REGION, aws=aws)
        )
    for name, value in (
        ("alloy-api-key", logs.api.api_key),
        ("aws-access-key-id", KEYS[0]),
        ("aws-secret-access-key", KEYS[1]),
    ):
        forwarder.run_command("keys", "set", name, stdin=value + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m forwarder.demo.container_source", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8780, help="of the logs API, on loopback")
    parser.add_argument("--aws", default="http://127.0.0.1:5000", help="address of the emulated AWS")
    parser.add_argument("--every", type=float, default=5.0, help="seconds from one failure to the next")
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serve(arguments.folder, port=arguments.port, aws=arguments.aws, every=arguments.every, stop=stop)


if __name__ == "__main__":
    main()
