"""An AWS on this machine: moto's server with an event bus, a rule and the queue behind it."""

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

# boto3 makes the classes of its clients at run time: there is nothing to name.
_Client = Any


@dataclass(frozen=True, slots=True)
class Event:
    """What EventBridge hands to a rule's target."""

    time: datetime
    source: str
    detail_type: str
    detail: dict[str, Any]
    body: str

    @property
    def execution_id(self) -> str:
        return str(self.detail.get("executionId", ""))

    @property
    def workflow_id(self) -> str:
        return str(self.detail.get("workflowId", ""))

    @property
    def message(self) -> str:
        error = self.detail.get("error")
        return str(error.get("message", "")) if isinstance(error, dict) else ""


@dataclass(slots=True)
class FakeAws:
    """While it is entered: a bus that hands every event of `source` to a queue of ours.

    The names end in a few random digits, because all moto servers of a process share one account.
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
        """Raises UsageError when moto is not installed."""
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
        """How many events the queue holds."""
        name = "ApproximateNumberOfMessages"
        answer = self._sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def receive(self, *, wait: int = 1) -> list[Event]:
        """Up to ten events, taken out of the queue; waits for the first of them at most `wait` seconds."""
        answer = self._sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=wait)
        messages = answer.get("Messages", [])
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
        # No proxies: a proxy of the caller's environment has no say on loopback.
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
    """The address of a running server."""
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
    """An AWS profile that the caller has chosen, and that does not exist, would keep moto and boto3 from starting."""
    chosen = {name: os.environ.pop(name) for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(chosen)
