"""`ledger create`: it makes a table with which a forwarder runs, and changes nothing that exists."""

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from forwarder.ledger.dynamodb.schema import table_definition
from tests.e2e.harness import fail, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.dynalite import new_table_name, running_dynalite, table_client, table_url
from tests.harness.installation import Installation
from tests.infra.templates import Aws, moto


@pytest.fixture
def aws() -> Iterator[Aws]:
    """Yield an emulator that has TTL. Its conditional writes are not atomic, which a creation does not need."""
    with moto() as aws:
        yield aws


def other_table(name: str) -> dict[str, Any]:
    return {
        **table_definition(name),
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    }


@pytest.mark.dynamodb
def test_create_makes_a_table_with_which_a_forwarder_runs(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """dynalite has no TTL, so this also proves that an engine without TTL is accepted."""
    name = new_table_name()
    installation.change("ledger", url=table_url(name))
    missing = installation.run_command("once")
    assert (missing.code, "`forwarder ledger create`" in missing.output) == (75, True)
    done = installation.run_command("ledger", "create")
    assert (done.code, done.output) == (0, f"created the table {name} in eu-west-1\n")
    fail(alloy, "a")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["a"]


@pytest.mark.dynamodb
def test_create_keeps_an_existing_ledger(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    name = new_table_name()
    installation.change("ledger", url=table_url(name))
    installation.run_command("ledger", "create")
    fail(alloy, "a")
    installation.run_command("once")
    done = installation.run_command("ledger", "create")
    assert (done.code, done.output) == (0, f"the table {name} in eu-west-1 exists already\n")
    assert installation.run_command("status", "--json").json()["counters"]["sent"] == len(sent(bus)) == 1


@pytest.mark.dynamodb
def test_create_refuses_a_table_with_other_keys(installation: Installation) -> None:
    name = new_table_name()

    async def create_other() -> None:
        async with table_client(running_dynalite().endpoint_url) as client:
            await client.create_table(**other_table(name))

    asyncio.run(create_other())
    installation.change("ledger", url=table_url(name))
    done = installation.run_command("ledger", "create")
    assert done.code == 1
    assert f"the table {name} in eu-west-1 exists and has other keys" in done.err
    assert "hint: " in done.err


def test_create_refuses_a_ledger_in_a_file(installation: Installation) -> None:
    done = installation.run_command("ledger", "create")
    assert done.code == 2
    assert f"the ledger is a file: {installation.ledger_file}" in done.err
    assert "`forwarder run` and `once` create it" in done.err
    assert not installation.ledger_file.exists()


def test_create_names_an_endpoint_that_does_not_respond(installation: Installation) -> None:
    installation.change("ledger", url=table_url("failures", "http://127.0.0.1:9"))
    done = installation.run_command("ledger", "create")
    assert (done.code, "the table failures in eu-west-1 cannot be used" in done.err) == (75, True), done.output


@pytest.mark.parametrize("exists", [False, True], ids=["new", "interrupted"])
def test_create_turns_on_ttl(installation: Installation, aws: Aws, exists: bool) -> None:
    """A creation that was interrupted before that is completed by the next one."""
    name = f"failures-{secrets.token_hex(3)}"
    client = Aws(aws.url, "eu-west-1").client("dynamodb")
    if exists:
        client.create_table(**table_definition(name))
    installation.change("ledger", url=table_url(name, aws.url))
    for _ in range(2):  # AWS refuses to turn on TTL twice
        assert installation.run_command("ledger", "create").code == 0
    ttl = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
    assert client.describe_table(TableName=name)["Table"]["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


def test_create_refuses_a_table_with_another_ttl(installation: Installation, aws: Aws) -> None:
    """DynamoDB would delete none of its items."""
    name = f"failures-{secrets.token_hex(3)}"
    client = Aws(aws.url, "eu-west-1").client("dynamodb")
    client.create_table(**table_definition(name))
    ttl = {"Enabled": True, "AttributeName": "ttl"}
    client.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)
    installation.change("ledger", url=table_url(name, aws.url))
    done = installation.run_command("ledger", "create")
    assert (done.code, "has its TTL on the attribute ttl, not on expires" in done.err) == (1, True), done.output
    assert "disable this TTL" in done.err
