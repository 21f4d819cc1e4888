"""The identity may publish the forwarder's events to its bus, may describe that bus, and may do nothing else."""

from typing import Any

import pytest
from botocore.session import get_session

from tests.infra.policy import allows
from tests.infra.templates import moto, template

REGION = "eu-central-1"
BUS = f"arn:aws:events:{REGION}:123456789012:event-bus/failures"
CANARY = f"arn:aws:sqs:{REGION}:123456789012:failures-canary"
SOURCE, DETAIL_TYPE = "alloy.embedded", "Workflow Execution Failed"
EVENT_CONTEXT = {"events:source": SOURCE, "events:detail-type": DETAIL_TYPE}


@pytest.fixture(scope="module")
def policy() -> dict[str, Any]:
    """Return the policy as deployed, with its parameters filled in."""
    with moto() as aws:
        return aws.policy(aws.deploy("identity.yaml", EventBusArn=BUS)["PolicyArn"])


def test_events_may_be_published_to_the_bus(policy: dict[str, Any]) -> None:
    assert allows(policy, "events:PutEvents", BUS, EVENT_CONTEXT)


@pytest.mark.parametrize("detail_type", ["Forwarder Test", "Forwarder Health Changed"])
def test_own_events_may_be_published_to_the_bus(policy: dict[str, Any], detail_type: str) -> None:
    assert allows(policy, "events:PutEvents", BUS, EVENT_CONTEXT | {"events:detail-type": detail_type})


def test_each_event_of_a_request_needs_the_permission(policy: dict[str, Any]) -> None:
    several = {name: [value, value] for name, value in EVENT_CONTEXT.items()}
    assert allows(policy, "events:PutEvents", BUS, several)
    assert not allows(
        policy, "events:PutEvents", BUS, several | {"events:source": [EVENT_CONTEXT["events:source"], "another"]}
    )


def test_bus_may_be_described(policy: dict[str, Any]) -> None:
    assert allows(policy, "events:DescribeEventBus", BUS, {})


@pytest.mark.parametrize(
    ("bus", "context"),
    [
        (BUS.replace("failures", "payments"), EVENT_CONTEXT),
        (BUS.replace("failures", "failures2"), EVENT_CONTEXT),
        (BUS.replace("failures", "default"), EVENT_CONTEXT),
        (BUS.replace("123456789012", "210987654321"), EVENT_CONTEXT),
        (BUS.replace(REGION, "us-east-1"), EVENT_CONTEXT),
        (BUS, EVENT_CONTEXT | {"events:source": "payments"}),
        (BUS, EVENT_CONTEXT | {"events:source": "aws.ec2"}),
        (BUS, EVENT_CONTEXT | {"events:detail-type": "Order Placed"}),
        (BUS, {"events:detail-type": DETAIL_TYPE}),
        (BUS, {"events:source": SOURCE}),
        (BUS, {}),
    ],
)
def test_other_events_and_buses_are_denied(policy: dict[str, Any], bus: str, context: dict[str, str]) -> None:
    assert not allows(policy, "events:PutEvents", bus, context)


def test_other_bus_may_not_be_described(policy: dict[str, Any]) -> None:
    assert not allows(policy, "events:DescribeEventBus", BUS.replace("failures", "payments"), {})


def test_every_other_action_is_denied(policy: dict[str, Any]) -> None:
    session = get_session()
    services = ("events", "iam", "sts", "sqs", "sns", "s3", "logs", "lambda", "kms", "secretsmanager", "dynamodb")
    actions = {
        f"{service}:{operation}"
        for service in services
        for operation in session.get_service_model(service).operation_names
    }
    allowed = {action for action in actions if allows(policy, action, BUS, EVENT_CONTEXT)}
    assert len(actions) > 700
    assert allowed == {"events:PutEvents", "events:DescribeEventBus"}
    on_queue = {action for action in actions if allows(policy, action, CANARY, EVENT_CONTEXT)}
    assert on_queue == {"sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:DeleteMessage"}


@pytest.mark.parametrize("queue", ["failures", "failures-dead-letters", "payments-canary"])
def test_other_queues_may_not_be_read(policy: dict[str, Any], queue: str) -> None:
    arn = CANARY.replace("failures-canary", queue)
    assert not any(allows(policy, f"sqs:{action}", arn, {}) for action in ("ReceiveMessage", "DeleteMessage"))


def test_role_is_assumed_with_the_external_id_only() -> None:
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
def test_policy_evaluation_follows_iam(expected: bool, statements: list[dict[str, Any]]) -> None:
    assert allows({"Statement": statements}, "events:PutEvents", BUS, {}) is expected


def test_unknown_policy_element_raises_an_error() -> None:
    unknown = {"Effect": "Allow", "NotAction": "s3:*", "Resource": "*", "Action": "*"}
    with pytest.raises(KeyError):
        allows({"Statement": [unknown]}, "events:PutEvents", BUS, {})
