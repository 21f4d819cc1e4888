"""The fake AWS of the demo: moto's server with an event bus, a rule and a queue."""

import json
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import boto3
from botocore.config import Config

from forwarder.errors import UsageError

REGION = "us-east-1"
_ATTEMPTS = 2

# boto3 creates the classes of its clients at run time, so they have no static type.
_Client = Any


@dataclass(frozen=True, slots=True)
class Event:
    """An event as EventBridge delivers it to the target of a rule."""

    time: datetime
    source: str
    detail_type: str
    detail: dict[str, Any]
    body: str

    @property
    def execution_id(self) -> str:
        return str(self.detail.get("executionId", ""))

    @property
    def idempotency_key(self) -> str:
        added = self.detail.get("forwarder")
        return str(added.get("idempotencyKey", "")) if isinstance(added, dict) else ""

    @property
    def workflow_id(self) -> str:
        return str(self.detail.get("workflowId", ""))

    @property
    def message(self) -> str:
        error = self.detail.get("error")
        return str(error.get("message", "")) if isinstance(error, dict) else ""


@dataclass(slots=True)
class FakeAws:
    """A bus that delivers every event of `source` to a queue. It exists while the context is entered.

    The names end in random digits, because all moto servers of a process share one account.
    """

    source: str = "alloy.embedded"
    access_key_id: str = field(default_factory=lambda: f"AKIA{secrets.token_hex(8).upper()}", repr=False)
    secret_access_key: str = field(default_factory=secrets.token_hex, repr=False)
    endpoint_url: str = field(default="", init=False)
    event_bus: str = field(default="", init=False)
    queue_url: str = field(default="", init=False)
    _sqs: _Client = field(default=None, init=False, repr=False)
    _exit_stack: ExitStack = field(default_factory=ExitStack, init=False, repr=False)

    def __enter__(self) -> Self:
        """Start the server, and create the bus and the queue. Raise UsageError if moto is not installed."""
        with ExitStack() as exit_stack:
            exit_stack.enter_context(_without_aws_profile())
            self.endpoint_url = exit_stack.enter_context(_moto_server())
            events = self._client("events", exit_stack)
            self._sqs = self._client("sqs", exit_stack)
            self._create_resources(events)
            self._exit_stack = exit_stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit_stack.close()

    def _create_resources(self, events: _Client) -> None:
        name = f"alloy-failures-{secrets.token_hex(3)}"
        events.create_event_bus(Name=name)
        self.queue_url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        queue = self._sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=["QueueArn"])
        pattern = json.dumps({"source": [self.source]})
        events.put_rule(Name=name, EventBusName=name, EventPattern=pattern)
        target = {"Id": "queue", "Arn": queue["Attributes"]["QueueArn"]}
        events.put_targets(Rule=name, EventBusName=name, Targets=[target])
        self.event_bus = name

    def queued(self) -> int:
        """Return the number of events in the queue."""
        name = "ApproximateNumberOfMessages"
        response = self._sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=[name])
        return int(response["Attributes"][name])

    def receive(self, *, wait: int = 1) -> list[Event]:
        """Take up to ten events out of the queue, and return them. Wait at most `wait` seconds for the first one."""
        response = self._sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=wait)
        messages = response.get("Messages", [])
        if messages:
            receipts = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages)
            ]
            self._sqs.delete_message_batch(QueueUrl=self.queue_url, Entries=receipts)
        return [_event(message["Body"]) for message in messages]

    def _client(self, service: str, exit_stack: ExitStack) -> _Client:
        session = boto3.Session(
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            region_name=REGION,
        )
        # Proxies of the caller's environment do not apply to loopback.
        config = Config(retries={"total_max_attempts": _ATTEMPTS}, proxies={})
        client = session.client(service, endpoint_url=self.endpoint_url, config=config)
        exit_stack.callback(client.close)
        return client


def _event(body: str) -> Event:
    event = json.loads(body)
    return Event(
        time=datetime.fromisoformat(event["time"]),
        source=event["source"],
        detail_type=event["detail-type"],
        detail=event["detail"],
        body=body,
    )


@contextmanager
def _moto_server() -> Iterator[str]:
    """Run a server, and yield its address."""
    try:
        from moto.server import ThreadedMotoServer  # noqa: PLC0415 - an optional extra, and slow to import
    except ImportError as error:
        raise UsageError("the demo needs moto, which is not installed", hint='pip install "forwarder[demo]"') from error
    with _silenced_logger("werkzeug"), _silenced_logger("moto"):
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        try:
            host, port = server.get_host_and_port()
            yield f"http://{host}:{port}"
        finally:
            server.stop()


@contextmanager
def _silenced_logger(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _without_aws_profile() -> Iterator[None]:
    """Unset the caller's AWS profile during the block. If it did not exist, moto and boto3 would fail."""
    chosen = {name: os.environ.pop(name) for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(chosen)
