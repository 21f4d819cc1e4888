"""The templates are deployed on moto, and the real forwarder sends to their resources: bus → rule → queue."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft4Validator

from tests.e2e.conftest import alloy, vault_secrets
from tests.e2e.harness import fail, numbered
from tests.fakes.alloy import FakeAlloy
from tests.harness.installation import Installation
from tests.infra.registry import registered_schema
from tests.infra.templates import REGION, UNSUPPORTED_BY_MOTO, Aws, moto, template

__all__ = ["alloy", "vault_secrets"]

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto:UserWarning")

WITHOUT_API = {"FailureEmail": "team@shop.example", "AlarmEmail": "on-call@shop.example", "SilenceHours": "24"}


@pytest.fixture
def aws() -> Iterator[Aws]:
    with moto() as aws:
        yield aws


@pytest.fixture
def name() -> str:
    return f"failures-{secrets.token_hex(3)}"


@pytest.fixture
def installation(tmp_path: Path, alloy: FakeAlloy, aws: Aws) -> Installation:
    installation = Installation(tmp_path, alloy=alloy.url, bus=aws.url)
    installation.create_vault()
    installation.change(
        "destination", timeout="60s"
    )  # a busy machine must not make an answer late, and so its events double
    installation.env["AWS_ENDPOINT_URL_STS"] = aws.url
    return installation


def test_sent_event_reaches_queue_log_and_archive(
    installation: Installation, alloy: FakeAlloy, aws: Aws, name: str
) -> None:
    # The mail is left out, because moto fills in its template differently from EventBridge.
    made = aws.deploy("bus.yaml", EventBusName=name, LogEverything="yes")
    installation.change("destination", event_bus=made["EventBus"], region=made["Region"])
    fail(alloy, *numbered(25))
    assert installation.run_command("once").code == 0
    events = aws.messages(name)
    assert sorted(event["detail"]["executionId"] for event in events) == numbered(25)
    assert {(event["source"], event["detail-type"]) for event in events} == {(made["EventSource"], made["DetailType"])}
    registry = Draft4Validator(registered_schema())
    assert [
        error.message for event in events for error in registry.iter_errors({"account": "moto has none", **event})
    ] == []
    logged = aws.client("logs").filter_log_events(logGroupName=made["LogGroup"])["events"]
    assert sorted(json.loads(line["message"])["detail"]["executionId"] for line in logged) == numbered(25)
    assert aws.client("events").describe_archive(ArchiveName=name)["EventCount"] == 25


@pytest.mark.long
def test_check_finds_the_bus_of_the_template(installation: Installation, alloy: FakeAlloy, aws: Aws, name: str) -> None:
    fail(alloy, "a")
    installation.change("destination", event_bus=aws.deploy("bus.yaml", EventBusName=name)["EventBus"], region=REGION)
    done = installation.run_command("check")
    assert done.code == 0, done.output
    assert f"event-bus/{name}" in done.out


def test_event_of_another_type_is_logged_and_not_queued(aws: Aws, name: str) -> None:
    made = aws.deploy("bus.yaml", EventBusName=name, LogEverything="yes")
    entry = {"EventBusName": name, "Source": made["EventSource"], "DetailType": "Forwarder Test", "Detail": "{}"}
    aws.client("events").put_events(Entries=[entry])
    assert aws.messages(name) == []
    assert len(aws.client("logs").filter_log_events(logGroupName=made["LogGroup"])["events"]) == 1


def test_bus_without_an_archive_delivers_events(aws: Aws, name: str) -> None:
    """A few regions have neither archives nor a schema registry."""
    made = aws.deploy("bus.yaml", EventBusName=name, ArchiveEvents="no", RegisterSchema="no")
    events = aws.client("events")
    assert events.list_archives(EventSourceArn=made["EventBus"])["Archives"] == []
    entry = {"EventBusName": name, "Source": made["EventSource"], "DetailType": made["DetailType"], "Detail": "{}"}
    events.put_events(Entries=[entry])
    assert len(aws.messages(name)) == 1


def test_message_is_dead_lettered_after_five_receives(aws: Aws, name: str) -> None:
    aws.deploy("bus.yaml", EventBusName=name)
    sqs = aws.client("sqs")
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    policy = json.loads(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]["RedrivePolicy"])
    assert policy["deadLetterTargetArn"].endswith(f":{name}-set-aside")
    assert int(policy["maxReceiveCount"]) == 5


def test_each_rule_has_the_targets_of_the_template(aws: Aws, name: str) -> None:
    aws.deploy("bus.yaml", EventBusName=name, LogEverything="yes", **WITHOUT_API)
    events = aws.client("events")
    rules = events.list_rules(EventBusName=name)["Rules"]
    targets = {
        rule["Name"].removeprefix(f"{name}-"): [
            target["Arn"].split(":")[2]
            for target in events.list_targets_by_rule(Rule=rule["Name"], EventBusName=name)["Targets"]
        ]
        for rule in rules
        if not rule.get("ManagedBy")
    }
    assert targets == {
        "everything-to-log": ["logs"],
        "to-queue": ["sqs"],
        "tests-to-queue": ["sqs"],
        "to-mail": ["sns"],
    }


@pytest.mark.long
def test_outputs_of_the_identity_are_valid_settings(installation: Installation, aws: Aws, name: str) -> None:
    bus = aws.deploy("bus.yaml", EventBusName=name)["EventBus"]
    trusted, external = "arn:aws:iam::123456789012:root", "the-word"
    made = aws.deploy("identity.yaml", EventBusArn=bus, TrustedPrincipal=trusted, ExternalId=external)
    assert {key for key in made if key not in {"UserName", "MakeKeys", "PolicyArn"}} == {
        "EventBus",
        "Region",
        "EventSource",
        "DetailType",
        "RoleArn",
        "ExternalId",
    }
    assert made["UserName"] in made["MakeKeys"]
    installation.change("destination", event_bus=made["EventBus"], region=made["Region"])
    installation.change("destination", role_arn=made["RoleArn"], external_id=made["ExternalId"])
    installation.change("event", source=made["EventSource"], detail_type=made["DetailType"])
    done = installation.run_command("once")
    assert done.code == 0, done.output


@pytest.mark.long
def test_forwarder_publishes_with_the_role_of_the_template(
    installation: Installation, alloy: FakeAlloy, aws: Aws, name: str
) -> None:
    bus = aws.deploy("bus.yaml", EventBusName=name)["EventBus"]
    made = aws.deploy(
        "identity.yaml", EventBusArn=bus, TrustedPrincipal="arn:aws:iam::123456789012:root", ExternalId="the-word"
    )
    installation.change("destination", event_bus=bus, region=REGION, role_arn=made["RoleArn"], external_id="the-word")
    fail(alloy, "a")
    done = installation.run_command("once")
    assert done.code == 0, done.output
    assert [event["detail"]["executionId"] for event in aws.messages(name)] == ["a"]
    (role,) = [role for role in aws.client("iam").list_roles()["Roles"] if role["Arn"] == made["RoleArn"]]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": "the-word"}}


def test_identity_can_have_a_role_or_a_user_only(aws: Aws, name: str) -> None:
    bus = aws.deploy("bus.yaml", EventBusName=name)["EventBus"]
    assert "RoleArn" not in aws.deploy("identity.yaml", EventBusArn=bus)
    assert "UserName" not in aws.deploy("identity.yaml", EventBusArn=bus, MakeUser="no")


def test_resource_types_that_moto_ignores_are_listed(aws: Aws, name: str) -> None:
    """The list of types whose text is tested stays complete, and without types that moto creates by now."""
    aws.deploy("bus.yaml", EventBusName=name, **WITHOUT_API)
    kinds = {
        resource["Type"]
        for stack in ("bus.yaml", "identity.yaml")
        for resource in template(stack)["Resources"].values()
    }
    made = {
        "AWS::Events::EventBus",
        "AWS::Events::Rule",
        "AWS::Events::Archive",
        "AWS::SQS::Queue",
        "AWS::Logs::LogGroup",
        "AWS::Logs::ResourcePolicy",
        "AWS::SNS::Topic",
        "AWS::IAM::ManagedPolicy",
        "AWS::IAM::Role",
        "AWS::IAM::User",
    }
    assert kinds - made == UNSUPPORTED_BY_MOTO
    assert aws.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    assert aws.client("events").list_connections()["Connections"] == []
