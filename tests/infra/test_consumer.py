"""The Lambda function of infra/cookbook/consumer processes each deliberate send of a real event once."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import jsonschema
import pytest

from forwarder.event.schema import schema
from tests.e2e.conftest import vault_secrets
from tests.e2e.harness import fail
from tests.event.closed_schema import closed_schema
from tests.fakes import bus_faults
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation
from tests.infra.lambda_process import TIMEOUT_SECONDS
from tests.infra.rule_event import rule_event
from tests.infra.templates import INFRA, REGION, Aws, moto, resources

__all__ = ["vault_secrets"]

TEMPLATE = "cookbook/lambda.yaml"

DATADOG = {"x-datadog-trace-id": "1", "x-datadog-parent-id": "2", "x-datadog-sampling-priority": "1"}
"""The keys that Datadog's tracer adds to the detail, as `_datadog`, before PutEvents."""

Event = dict[str, Any]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """Return four events of one execution: the first, its retry after a lost response, and two replays."""
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        alloy.api.add_workflow("w")
        installation = Installation(tmp_path_factory.mktemp("consumer"), alloy=alloy.url, bus=bus.url)
        installation.create_vault()
        installation.change("destination", timeout="20s")  # a slow machine would repeat the event once more
        error = {"message": "Bad request", "description": "no stock", "cause": {"message": "409", "code": "E"}}
        fail(alloy, "a", outcome="failed-error-object")
        alloy.api.update("a", error=error)
        bus.next(bus_faults.cut_off(delivered=True))
        assert installation.run_command("once").code == 0
        for _ in range(2):
            assert installation.run_command("replay", "a", "--yes").code == 0
        return [rule_event(delivered) for delivered in bus.delivered]


@dataclass
class Tickets:
    """A ticket system. `refusals` is the number of requests that it answers with 503 first."""

    url: str = ""
    refusals: int = 0
    opened: list[tuple[str, Any]] = field(default_factory=list)


@pytest.fixture
def tickets() -> Iterator[Tickets]:
    tickets = Tickets()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name is the base class's
            ticket = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            accepted = tickets.refusals == 0
            tickets.refusals -= not accepted
            if accepted:
                tickets.opened.append((self.headers["Idempotency-Key"], ticket))
            self.send_response(201 if accepted else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        tickets.url = f"http://127.0.0.1:{server.server_port}/tickets"
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield tickets
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Consumer:
    process: "subprocess.Popen[str]"

    def handle(self, *events: Event) -> list[str | None]:
        """Run the handler on each event, and return the error of each."""
        assert self.process.stdin
        assert self.process.stdout
        errors = []
        for event in events:
            self.process.stdin.write(f"{json.dumps(event)}\n")
            self.process.stdin.flush()
            errors.append(json.loads(self.process.stdout.readline()))
        return errors


@pytest.fixture
def aws() -> Iterator[Aws]:
    with moto() as aws:
        yield aws


@pytest.fixture
def table(aws: Aws) -> str:
    """Return the name of a table with the properties of the template."""
    (properties,) = resources(TEMPLATE, "AWS::DynamoDB::Table").values()
    expiry = properties.pop("TimeToLiveSpecification")
    name = f"processed-{secrets.token_hex(3)}"
    aws.client("dynamodb").create_table(TableName=name, **properties)
    aws.client("dynamodb").update_time_to_live(TableName=name, TimeToLiveSpecification=expiry)
    return name


@pytest.fixture
def consumer(aws: Aws, table: str, tickets: Tickets) -> Iterator[Consumer]:
    with start_consumer(aws, table, tickets) as consumer:
        yield consumer


@contextmanager
def start_consumer(aws: Aws, table: str, tickets: Tickets) -> Iterator[Consumer]:
    (function,) = resources(TEMPLATE, "AWS::Lambda::Function").values()
    assert function["Environment"]["Variables"].keys() == {"IDEMPOTENCY_TABLE", "TICKETS_URL"}
    module, _, name = function["Handler"].partition(".")
    assert (name, function["Timeout"]) == ("handler", TIMEOUT_SECONDS)
    folder = (INFRA / TEMPLATE).parent / function["Code"]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",  # `package` uploads the folder
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL_DYNAMODB": aws.url,
        "IDEMPOTENCY_TABLE": table,
        "TICKETS_URL": tickets.url,
    }
    command = [sys.executable, "-m", "tests.infra.lambda_process", str(folder), module]
    with subprocess.Popen(  # noqa: S603  # the command is ours
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Consumer(process)
        assert process.stdin
        process.stdin.close()
        assert process.wait() == 0


def key_of(event: Event) -> str:
    key: str = event["detail"]["forwarder"]["idempotencyKey"]
    return key


def test_retry_is_processed_once_and_each_replay_again(
    events: list[Event], consumer: Consumer, tickets: Tickets
) -> None:
    first, retry, replay, second_replay = events
    assert first["id"] != retry["id"]
    assert {event["detail"]["executionId"] for event in events} == {"a"}
    assert key_of(first) == key_of(retry)
    assert len({key_of(event) for event in (first, replay, second_replay)}) == 3
    assert consumer.handle(*events, *events) == [None] * 8
    assert [key for key, _ in tickets.opened] == [key_of(first), key_of(replay), key_of(second_replay)]
    assert [ticket["replay"] for _, ticket in tickets.opened] == [False, True, True]
    assert tickets.opened[0][1]["reason"] == "no stock"


def test_event_with_added_fields_is_accepted(events: list[Event], consumer: Consumer, tickets: Tickets) -> None:
    """A tracer, or a later forwarder, adds fields to a detail of ours."""
    traced = json.loads(json.dumps(events[0]))
    traced["detail"]["_datadog"] = DATADOG
    traced["detail"]["forwarder"]["new"] = traced["detail"]["error"]["new"] = {"a": 1}
    jsonschema.validate(traced["detail"], schema())
    assert consumer.handle(traced, events[1]) == [None, None]
    assert [key for key, _ in tickets.opened] == [key_of(traced)]


def test_our_events_have_exactly_the_known_fields(events: list[Event]) -> None:
    for event in events:
        jsonschema.validate(event["detail"], closed_schema())


def test_failed_event_is_processed_at_the_next_attempt(
    events: list[Event], consumer: Consumer, tickets: Tickets
) -> None:
    tickets.refusals = 1
    refused, *others = consumer.handle(events[0], events[0], events[0])
    assert refused is not None
    assert "503" in refused
    assert others == [None, None]
    assert len(tickets.opened) == 1


def test_processed_keys_outlive_the_function(events: list[Event], aws: Aws, table: str, tickets: Tickets) -> None:
    """A new process of the function knows the key. The item expires by the attribute that the table names."""
    for _ in range(2):
        with start_consumer(aws, table, tickets) as consumer:
            assert consumer.handle(events[0]) == [None]
    assert len(tickets.opened) == 1
    (item,) = aws.client("dynamodb").scan(TableName=table)["Items"]
    assert {"id", "expiration", "status"} <= item.keys()
    assert item["status"] == {"S": "COMPLETED"}


def test_event_without_a_needed_field_is_refused(events: list[Event], consumer: Consumer, tickets: Tickets) -> None:
    """Lambda sends it to the dead letters. An event without a key is not processed without protection."""
    for missing in ("idempotencyKey", "observedAt"):
        event = json.loads(json.dumps(events[0]))
        del event["detail"]["forwarder"][missing]
        (error,) = consumer.handle(event)
        assert error is not None, missing
    assert tickets.opened == []
    assert consumer.handle(events[0]) == [None], "a refused event does not use up its key"
    assert len(tickets.opened) == 1
