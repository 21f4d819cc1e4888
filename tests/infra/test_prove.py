"""`check --prove` on moto: a test event goes from the bus through the rule of the template into the canary queue."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from forwarder.delivery.canary import DETAIL_TYPE
from tests.e2e.conftest import alloy, vault_secrets
from tests.fakes.alloy import FakeAlloy
from tests.harness.installation import Installation
from tests.harness.process import eventually
from tests.infra.templates import REGION, Aws, moto

__all__ = ["alloy", "vault_secrets"]

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto:UserWarning")


@pytest.fixture
def aws() -> Iterator[Aws]:
    with moto() as aws:
        yield aws


@pytest.fixture
def name() -> str:
    return f"failures-{secrets.token_hex(3)}"


@pytest.fixture
def installation(tmp_path: Path, alloy: FakeAlloy, aws: Aws, name: str) -> Installation:
    installation = Installation(tmp_path, alloy=alloy.url, bus=aws.url)
    installation.create_vault()
    alloy.api.add_workflow("w")
    installation.change("destination", event_bus=name, region=REGION, timeout="60s")
    return installation


def test_event_that_arrives_is_proved_and_its_message_deleted(installation: Installation, aws: Aws, name: str) -> None:
    """The messages of other test events stay in the queue."""
    aws.deploy("bus.yaml", EventBusName=name)
    other = {"canaryId": "another"}
    entry = {"EventBusName": name, "Source": "alloy.embedded", "DetailType": DETAIL_TYPE, "Detail": json.dumps(other)}
    aws.client("events").put_events(Entries=[entry])
    url = aws.client("sqs").get_queue_url(QueueName=f"{name}-canary")["QueueUrl"]
    aws.client("sqs").send_message(QueueUrl=url, MessageBody="{not json")
    done = installation.run_command("check", "--prove", "--json")
    steps = {step["name"]: step for step in done.json()}
    assert done.code == 0, done.output
    assert (steps["publishing"]["ok"], steps["arrival"]["ok"]) == (True, True)
    assert f"in the queue {name}-canary after" in steps["arrival"]["message"]
    bodies: set[str] = set()

    def both_are_visible() -> bool:
        response = aws.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        bodies.update(message["Body"] for message in response.get("Messages", ()))
        return len(bodies) == 2

    assert eventually(both_are_visible)  # the command has hidden them for a moment
    assert "{not json" in bodies
    assert any('"another"' in body for body in bodies)


def test_queue_can_be_named_by_its_url(installation: Installation, aws: Aws, name: str) -> None:
    url = aws.deploy("bus.yaml", EventBusName=name)["CanaryQueue"]
    local = aws.url + "/" + url.split("/", 3)[3]
    installation.env["AWS_ENDPOINT_URL_SQS"] = "http://127.0.0.1:9"  # the URL has precedence
    done = installation.run_command("check", "--prove", "--queue", local)
    assert done.code == 0, done.output
    assert "✓ arrival" in done.out


def test_missing_queue_leaves_the_arrival_unproved(installation: Installation, aws: Aws, name: str) -> None:
    aws.client("events").create_event_bus(Name=name)
    done = installation.run_command("check", "--prove")
    assert done.code == 69
    assert "✓ publishing" in done.out
    assert f"– arrival: not proved, although the bus accepted the event: there is no queue {name}-canary" in done.out
    assert "infra/bus.yaml" in done.out


def test_unreachable_queue_leaves_the_arrival_unproved(installation: Installation, aws: Aws, name: str) -> None:
    aws.client("events").create_event_bus(Name=name)
    installation.env["AWS_ENDPOINT_URL_SQS"] = "http://127.0.0.1:9"
    done = installation.run_command("check", "--prove", "--json")
    (arrival,) = [step for step in done.json() if step["name"] == "arrival"]
    assert (done.code, arrival["ok"]) == (69, None)
    assert arrival["message"].startswith("not proved, although the bus accepted the event: ")
    assert "127.0.0.1:9" in arrival["message"]


def test_event_without_a_rule_is_reported_as_not_arrived(installation: Installation, aws: Aws, name: str) -> None:
    aws.client("events").create_event_bus(Name=name)
    aws.client("sqs").create_queue(QueueName=f"{name}-canary")
    done = installation.run_command("check", "--prove", "--wait", "1")
    assert done.code == 69
    assert f"✗ arrival: the bus accepted the event, but it is not in the queue {name}-canary after 1 s" in done.out
    assert "check that the rule matches" in done.out


def test_missing_bus_is_reported_before_the_arrival(installation: Installation) -> None:
    done = installation.run_command("check", "--prove", "--json")
    steps = {step["name"]: step for step in done.json()}
    assert steps["publishing"]["ok"] is False
    assert (steps["arrival"]["ok"], steps["arrival"]["message"]) == (
        None,
        "not tried, because no event was accepted",
    )
