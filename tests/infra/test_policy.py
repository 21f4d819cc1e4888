"""The identity may publish the forwarder's events to its one bus, may see that bus, and may do nothing else."""

from typing import Any

import pytest
from botocore.session import get_session

from tests.infra.policy import allows
from tests.infra.templates import moto, template

REGION = "eu-central-1"
BUS = f"arn:aws:events:{REGION}:123456789012:event-bus/failures"
SOURCE, DETAIL_TYPE = "alloy.embedded", "Workflow Execution Failed"
OURS = {"events:source": SOURCE, "events:detail-type": DETAIL_TYPE}


@pytest.fixture(scope="module")
def policy() -> dict[str, Any]:
    """Return the policy as deployed, with its parameters filled in."""
    with moto() as aws:
        arn = aws.deploy("identity.yaml", EventBusArn=BUS)["PolicyArn"]
        iam = aws.client("iam")
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        found = iam.get_policy_version(PolicyArn=arn, VersionId=version)
        document: dict[str, Any] = found["PolicyVersion"]["Document"]
        return document


def test_the_forwarders_events_may_be_published_to_its_bus(policy: dict[str, Any]) -> None:
    assert allows(policy, "events:PutEvents", BUS, OURS)


def test_its_test_events_may_too(policy: dict[str, Any]) -> None:
    assert allows(policy, "events:PutEvents", BUS, OURS | {"events:detail-type": "Forwarder Test"})


def test_of_several_events_in_one_request_every_one_must_be_ours(policy: dict[str, Any]) -> None:
    several = {name: [value, value] for name, value in OURS.items()}
    assert allows(policy, "events:PutEvents", BUS, several)
    assert not allows(policy, "events:PutEvents", BUS, several | {"events:source": [OURS["events:source"], "another"]})


def test_the_bus_may_be_looked_at(policy: dict[str, Any]) -> None:
    assert allows(policy, "events:DescribeEventBus", BUS, {})


@pytest.mark.parametrize(
    ("bus", "context"),
    [
        (BUS.replace("failures", "payments"), OURS),
        (BUS.replace("failures", "failures2"), OURS),
        (BUS.replace("failures", "default"), OURS),
        (BUS.replace("123456789012", "210987654321"), OURS),
        (BUS.replace(REGION, "us-east-1"), OURS),
        (BUS, OURS | {"events:source": "payments"}),
        (BUS, OURS | {"events:source": "aws.ec2"}),
        (BUS, OURS | {"events:detail-type": "Order Placed"}),
        (BUS, {"events:detail-type": DETAIL_TYPE}),
        (BUS, {"events:source": SOURCE}),
        (BUS, {}),
    ],
)
def test_anything_else_may_not_be_published(policy: dict[str, Any], bus: str, context: dict[str, str]) -> None:
    assert not allows(policy, "events:PutEvents", bus, context)


def test_no_other_bus_may_be_looked_at(policy: dict[str, Any]) -> None:
    assert not allows(policy, "events:DescribeEventBus", BUS.replace("failures", "payments"), {})


def test_no_other_action_is_allowed_of_any_that_these_services_have(policy: dict[str, Any]) -> None:
    session = get_session()
    services = ("events", "iam", "sts", "sqs", "sns", "s3", "logs", "lambda", "kms", "secretsmanager", "dynamodb")
    actions = {
        f"{service}:{operation}"
        for service in services
        for operation in session.get_service_model(service).operation_names
    }
    allowed = {action for action in actions if allows(policy, action, BUS, OURS)}
    assert len(actions) > 700
    assert allowed == {"events:PutEvents", "events:DescribeEventBus"}


def test_the_role_is_assumed_with_the_external_id_only() -> None:
    trust = template("identity.yaml")["Resources"]["Role"]["Properties"]["AssumeRolePolicyDocument"]
    (statement,) = trust["Statement"]
    assert statement["Principal"] == {"AWS": {"Ref": "TrustedPrincipal"}}
    assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": {"Ref": "ExternalId"}}}


@pytest.mark.parametrize(
    ("expected", "statements"),
    [
        (False, []),
        (True, [{"Effect": "Allow", "Action": "events:Put*", "Resource": "*"}]),
        (
            False,
            [{"Effect": "Allow", "Action": "*", "Resource": "*"}, {"Effect": "Deny", "Action": "*", "Resource": BUS}],
        ),
        (False, [{"Effect": "Allow", "Action": "*", "Resource": BUS + "?"}]),
    ],
)
def test_the_judge_of_policies_is_just(expected: bool, statements: list[dict[str, Any]]) -> None:
    assert allows({"Statement": statements}, "events:PutEvents", BUS, {}) is expected


def test_the_judge_does_not_judge_what_it_does_not_know() -> None:
    unknown = {"Effect": "Allow", "NotAction": "s3:*", "Resource": "*", "Action": "*"}
    with pytest.raises(KeyError):
        allows({"Statement": [unknown]}, "events:PutEvents", BUS, {})
