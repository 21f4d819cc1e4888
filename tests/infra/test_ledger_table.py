"""The table of a shared ledger, deployed on moto, and the program's own store in it.

Moto's conditions are not atomic, so that one process alone uses the table here. It ignores TTL, backups and alarms of
a template, so that these are checked as text.
"""

import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from aiobotocore.session import get_session

from forwarder.ledger import Sent
from forwarder.ledger.dynamodb import DynamoLedger
from forwarder.ledger.dynamodb.executions import Retention
from forwarder.ledger.dynamodb.schema import EXPIRY_ATTRIBUTE, table_definition
from forwarder.model import Checkpoint
from forwarder.settings.validators.ledger_url import TableLocation
from tests.factories import FEED, add_feed, entry
from tests.infra.ledger_operations import ledger_operations
from tests.infra.templates import REGION, Aws, moto, resources, template
from tests.virtual_clock import NOON

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto:UserWarning")


@pytest.fixture
def aws() -> Iterator[Aws]:
    with moto() as aws:
        yield aws


@pytest.fixture
def name() -> str:
    return f"ledger-{secrets.token_hex(3)}"


def table_properties() -> dict[str, Any]:
    (properties,) = resources("ledger-table.yaml", "AWS::DynamoDB::Table").values()
    return dict(properties)


def open_ledger(aws: Aws, url: str) -> DynamoLedger:
    location = TableLocation.of(url)
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    return DynamoLedger(
        location,
        lambda: get_session().create_client("dynamodb", region_name=location.region, endpoint_url=aws.url, **keys),
        Retention(timedelta(days=90), timedelta(days=1)),
        now=lambda: NOON,
    )


def test_template_equals_the_definition_of_the_program() -> None:
    properties, expected = table_properties(), table_definition("any")
    assert {name: properties[name] for name in expected if name != "TableName"} == {
        name: value for name, value in expected.items() if name != "TableName"
    }
    assert not [name for name in properties if "Index" in name]


def test_deployed_table_has_the_keys_and_is_protected(aws: Aws, name: str) -> None:
    made = aws.deploy("ledger-table.yaml", TableName=name)
    table = aws.client("dynamodb").describe_table(TableName=name)["Table"]
    assert table["TableArn"] == made["TableArn"]
    assert table["KeySchema"] == table_definition(name)["KeySchema"]
    assert table["AttributeDefinitions"] == table_definition(name)["AttributeDefinitions"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table["DeletionProtectionEnabled"] is True


def test_key_of_yours_replaces_the_key_that_aws_owns() -> None:
    """Without a specification of encryption, DynamoDB uses the key that AWS owns."""
    condition, with_key, without = table_properties()["SSESpecification"]["Fn::If"]
    assert template("ledger-table.yaml")["Conditions"][condition] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "KeyArn"}, ""]}]
    }
    assert with_key == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": {"Ref": "KeyArn"}}
    assert without == {"Ref": "AWS::NoValue"}


@pytest.mark.parametrize("prefix", ["", "orders"])
async def test_ledger_works_in_the_table_of_the_url(aws: Aws, name: str, prefix: str) -> None:
    url = aws.deploy("ledger-table.yaml", TableName=name)["Url"]
    assert url == f"dynamodb://{name}?region={REGION}"
    url += f"&prefix={prefix}" if prefix else ""
    async with open_ledger(aws, url) as ledger:
        await add_feed(ledger, FEED, Checkpoint())
        assert await ledger.record(FEED, [entry("a"), entry("b")], now=NOON, checkpoint=Checkpoint(NOON)) == 2
        first, second = await ledger.claim(2, now=NOON)
        await ledger.settle([Sent(first.token, "1")], now=NOON)
        ledger.release([second.token])
    async with open_ledger(aws, url) as ledger:
        counters = await ledger.audit()
        assert (counters.recorded, counters.sent, counters.pending) == (2, 1, 1)
        assert await ledger.checkpoint(FEED) == Checkpoint(NOON)
    items = aws.client("dynamodb").scan(TableName=name)["Items"]
    assert {item["p"]["S"].startswith(f"{prefix}/") for item in items} == {bool(prefix)}


async def test_items_expire_by_the_attribute_that_the_program_writes(aws: Aws, name: str) -> None:
    """A journal's item, a sent execution and the displayed counts expire, at a number of seconds since 1970."""
    async with open_ledger(aws, aws.deploy("ledger-table.yaml", TableName=name)["Url"]) as ledger:
        await add_feed(ledger, FEED, Checkpoint())
        await ledger.record(FEED, [entry("a")], now=NOON)
        (claimed,) = await ledger.claim(1, now=NOON)
        await ledger.settle([Sent(claimed.token, "1")], now=NOON)
    assert table_properties()["TimeToLiveSpecification"] == {"AttributeName": EXPIRY_ATTRIBUTE, "Enabled": True}
    items = aws.client("dynamodb").scan(TableName=name)["Items"]
    expiring = {item["p"]["S"][0]: item[EXPIRY_ATTRIBUTE] for item in items if EXPIRY_ATTRIBUTE in item}
    assert expiring.keys() == {"x", "j", "t"}
    assert all(NOON.timestamp() < int(value["N"]) < 2 * NOON.timestamp() for value in expiring.values())


def test_table_outlives_its_stack_and_can_be_restored() -> None:
    table = template("ledger-table.yaml")["Resources"]["Ledger"]
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    assert table["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_alarms_watch_the_table_and_every_operation() -> None:
    alarms = resources("ledger-table.yaml", "AWS::CloudWatch::Alarm")
    errors = alarms.pop("SystemErrors")
    of_table = {"Name": "TableName", "Value": {"Ref": "Ledger"}}
    assert {alarm["MetricName"] for alarm in alarms.values()} == {"ReadThrottleEvents", "WriteThrottleEvents"}
    assert all(alarm["Dimensions"] == [of_table] for alarm in alarms.values())
    total, *metrics = errors["Metrics"]
    assert (total["Expression"], total["ReturnData"]) == ("SUM(FILL(METRICS(), 0))", True)
    watched = [each["MetricStat"]["Metric"]["Dimensions"] for each in metrics]
    assert all(dimensions[0] == of_table for dimensions in watched)
    assert {dimensions[1]["Value"] for dimensions in watched} == ledger_operations()
    for alarm in (*alarms.values(), errors):
        assert alarm["TreatMissingData"] == "notBreaching"
        assert alarm["AlarmActions"] == alarm["OKActions"]
        assert alarm["AlarmActions"]["Fn::If"][:2] == ["WithTopic", [{"Ref": "AlarmTopic"}]]
