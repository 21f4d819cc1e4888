"""The DynamoDB store fulfils the contract."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from forwarder.ledger import Ledger
from forwarder.ledger.dynamodb import DynamoLedger
from forwarder.ledger.dynamodb.executions import Retention
from forwarder.ledger.dynamodb.schema import table_definition
from forwarder.settings.validators.ledger_url import TableLocation
from tests.harness.dynalite import new_table_name, running_dynalite, table_client
from tests.ledger.contract import OpenLedger
from tests.ledger.dead_letters import DeadLetterContract
from tests.ledger.missing_bus import MissingBusContract
from tests.ledger.pages import PageContract
from tests.ledger.queries import QueryContract
from tests.ledger.random_operations import RandomOperationsContract
from tests.ledger.retention import RetentionContract
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb


async def create_table(endpoint_url: str, name: str) -> None:
    async with table_client(endpoint_url) as client:
        await client.create_table(**table_definition(name))


class TestDynamoLedger(
    DeadLetterContract, MissingBusContract, RetentionContract, QueryContract, PageContract, RandomOperationsContract
):
    random_runs, short_random_runs = 1, 2  # each step takes some twenty requests

    async def save_switch(self, ledger: Ledger, *, enabled: bool, skip: bool, now: datetime) -> bool | None:
        return await ledger.save_fleet_switch(enabled=enabled, skip=skip, now=now)

    @contextmanager
    def opener(self) -> Iterator[OpenLedger]:
        endpoint_url, name = running_dynalite().endpoint_url, new_table_name()
        asyncio.run(create_table(endpoint_url, name))
        yield lambda: DynamoLedger(
            TableLocation(name, "eu-west-1"),
            lambda: table_client(endpoint_url),
            Retention(timedelta(days=90), timedelta(days=1)),
            heartbeat_seconds=600,  # on a busy machine, the tests write none in time
            host="test",
            now=lambda: NOON,
        )
