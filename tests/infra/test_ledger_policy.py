"""The policy for a shared ledger allows the operations that the program uses, on the items of its prefix alone.

The conditions are decided by the documented rules of IAM and DynamoDB; nothing ran in AWS.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.session import get_session

from tests.infra.ledger_operations import ledger_operations
from tests.infra.policy import allows
from tests.infra.templates import Aws, moto, resources

REGION = "eu-central-1"
BUS = f"arn:aws:events:{REGION}:123456789012:event-bus/failures"
TABLE = f"arn:aws:dynamodb:{REGION}:123456789012:table/forwarder-ledger"
KEY = f"arn:aws:kms:{REGION}:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
LEADING_KEYS = "dynamodb:LeadingKeys"
OWN = {LEADING_KEYS: ["orders/m"]}


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with moto() as aws:
        yield aws


def ledger_policy(aws: Aws, **parameters: str) -> dict[str, Any]:
    return aws.policy(
        aws.deploy("identity.yaml", EventBusArn=BUS, LedgerTableArn=TABLE, **parameters)["LedgerPolicyArn"]
    )


def allowed_operations(policy: dict[str, Any], context: dict[str, list[str]], table: str = TABLE) -> set[str]:
    """Return every operation of DynamoDB that the policy allows on a table."""
    operations = get_session().get_service_model("dynamodb").operation_names
    return {name for name in operations if allows(policy, f"dynamodb:{name}", table, context)}


def test_actions_are_the_operations_of_the_program(aws: Aws) -> None:
    operations = ledger_operations()
    assert "Scan" in operations
    policy = ledger_policy(aws)
    assert allowed_operations(policy, OWN) == operations
    actions = [statement["Action"] for statement in policy["Statement"]]
    assert "*" not in str(actions)


def test_other_tables_and_indexes_are_denied(aws: Aws) -> None:
    policy = ledger_policy(aws)
    others = (f"{TABLE}2", f"{TABLE}/index/any", f"{TABLE}/stream/any", TABLE.replace("123456789012", "210987654321"))
    assert [allowed_operations(policy, OWN, other) for other in others] == [set()] * len(others)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["orders/m"], True),
        (["orders/x#0123", "orders/j#a"], True),
        (["orders/x#0123", "refunds/x#0123"], False),
        (["refunds/m"], False),
        (["orders2/m"], False),
        (["m"], False),
        (None, False),
    ],
)
def test_prefix_limits_each_request_to_own_items(aws: Aws, keys: list[str] | None, expected: bool) -> None:
    """A batch needs the prefix in each key. A request without any key, such as a statement of PartiQL, is denied."""
    context = {} if keys is None else {LEADING_KEYS: keys}
    allowed = allowed_operations(ledger_policy(aws, LedgerPrefix="orders"), context)
    assert allowed == (ledger_operations() - {"Scan"} if expected else set())


def test_scan_of_a_table_with_prefixes_needs_permission(aws: Aws) -> None:
    """A scan has no leading key, so that a condition would allow all of it or nothing."""
    assert "Scan" not in allowed_operations(ledger_policy(aws, LedgerPrefix="orders"), {})
    assert allowed_operations(ledger_policy(aws, LedgerPrefix="orders", AuditLedger="yes"), {}) == {"Scan"}
    assert "Scan" in allowed_operations(ledger_policy(aws), {})


def test_key_of_yours_is_usable_through_dynamodb_only(aws: Aws) -> None:
    made = aws.deploy("identity.yaml", EventBusArn=BUS, LedgerTableArn=TABLE, LedgerKeyArn=KEY)
    policy = aws.policy(made["LedgerKeyPolicyArn"])
    through = {"kms:ViaService": f"dynamodb.{REGION}.amazonaws.com"}
    operations = get_session().get_service_model("kms").operation_names
    allowed = {name for name in operations if allows(policy, f"kms:{name}", KEY, through)}
    assert {"Decrypt", "Encrypt", "GenerateDataKey", "DescribeKey"} <= allowed
    assert not allowed & {"CreateGrant", "PutKeyPolicy", "ScheduleKeyDeletion", "DisableKey"}
    assert not allows(policy, "kms:Decrypt", KEY, {})


def test_policy_is_attached_to_the_user_and_not_to_the_role(aws: Aws) -> None:
    """The forwarder uses its own identity for the ledger. The role is assumed for the bus alone."""
    made = aws.deploy("identity.yaml", EventBusArn=BUS, LedgerTableArn=TABLE)
    of_user = aws.client("iam").list_attached_user_policies(UserName=made["UserName"])["AttachedPolicies"]
    assert made["LedgerPolicyArn"] in {each["PolicyArn"] for each in of_user}
    (role,) = resources("identity.yaml", "AWS::IAM::Role").values()
    assert role["ManagedPolicyArns"] == [{"Ref": "Publish"}]


def test_identity_without_a_ledger_has_no_such_policy(aws: Aws) -> None:
    assert not {"LedgerPolicyArn", "LedgerKeyPolicyArn"} & aws.deploy("identity.yaml", EventBusArn=BUS).keys()
