"""A copy of a ledger that is interrupted, killed, repeated or refused."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from forwarder.errors import AuditDenied, LedgerError, LedgerLocked, UsageError
from forwarder.ledger import (
    Counters,
    RunningLock,
    SqliteLedger,
    codec,
)
from forwarder.ledger.copy import LedgerCopy
from forwarder.ledger.dynamodb import schema
from forwarder.ledger.sqlite.export import hex_digest
from forwarder.model import Checkpoint
from forwarder.settings import ConfigSource, LocalSettings
from tests.harness.dynalite import running_dynalite
from tests.harness.dynamodb_faults import PASS, THROTTLED, Fault, Request
from tests.harness.dynamodb_proxy import DynamoProxy
from tests.ledger.copied_ledger import (
    BATCH_ROWS,
    DAY,
    DEAD,
    FEEDS,
    PENDING,
    SENT,
    START,
    ids,
    ignore,
    opened,
    record,
    settle,
)
from tests.ledger.fleet_table import client


@pytest.mark.dynamodb
async def test_throttled_copy_goes_on(copy: LedgerCopy) -> None:
    """All settled payloads are written to one partition, which takes a thousand units a second."""
    refused = iter([THROTTLED] * 12)

    def plan(request: Request) -> Fault:
        return next(refused, PASS) if request.writes("j#") else PASS

    async with DynamoProxy(running_dynalite().port) as proxy:
        proxy.plan = plan
        throttled = replace(copy, connect=lambda: client(proxy.endpoint_url))
        assert await throttled.run(ignore) is not None
    assert next(refused, None) is None


@pytest.mark.dynamodb
@pytest.mark.parametrize("stop_at", [30, *(pytest.param(each, marks=pytest.mark.long) for each in (10, 47))])
async def test_interrupted_copy_continues(copy: LedgerCopy, stop_at: int) -> None:
    """No forwarder can open the ledger before the copy is complete."""

    def interrupt(done: int, _total: int) -> None:
        if done >= stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await copy.run(interrupt)
    with pytest.raises(LedgerError, match="is not complete"):
        async with opened(copy):
            pass
    copied = await copy.run(ignore)
    async with SqliteLedger(copy.source) as source, opened(copy) as target:
        assert copied == await source.counters() == await target.audit()
        await target.beat()
        assert len(await target.claim(1000, now=START + 16 * DAY)) == len(PENDING) + 2


class Killed(BaseException):
    """The end of the process."""


class FragileClient:
    """A client of the SDK whose process is killed at one of its writes."""

    def __init__(self, client: Any, kill_at: int) -> None:
        self._client = client
        self._kill_at = kill_at
        self._writes = 0

    def __getattr__(self, operation: str) -> Any:
        return getattr(self._client, operation)

    async def put_item(self, **request: Any) -> Any:
        self._writes += 1
        if self._writes >= self._kill_at:
            raise Killed
        return await self._client.put_item(**request)


class ClientWithoutScan(FragileClient):
    """A client whose keys may not scan the table, as a fleet with a prefix has them."""

    async def scan(self, **_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "Scan")


@pytest.mark.dynamodb
async def test_copy_that_cannot_be_verified_is_not_begun(copy: LedgerCopy) -> None:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        async with copy.connect() as client:
            yield ClientWithoutScan(client, 10**9)

    with pytest.raises(AuditDenied):
        await replace(copy, connect=connect).run(ignore)
    async with opened(copy) as target:
        assert await target.counters() == Counters()


@pytest.mark.dynamodb
@pytest.mark.parametrize("kill_at", [4, *(pytest.param(each, marks=pytest.mark.long) for each in (1, 9, 11, 20, 61))])
async def test_killed_copy_continues(copy: LedgerCopy, kill_at: int) -> None:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        async with copy.connect() as client:
            yield FragileClient(client, kill_at)

    with pytest.raises(Killed):
        await replace(copy, connect=connect).run(ignore)
    await copy.run(ignore)
    async with SqliteLedger(copy.source) as source, opened(copy) as target:
        assert await target.audit() == await source.counters()
        for each in (PENDING[3], SENT[5], DEAD[0]):
            assert await target.stored_entry(each) == await source.stored_entry(each), each


@pytest.mark.dynamodb
async def test_complete_copy_is_not_made_again(copy: LedgerCopy) -> None:
    await copy.run(ignore)
    async with opened(copy) as target:
        await target.beat()
        await settle(target, PENDING, "sent", START + 16 * DAY)
        before = await target.counters()
    assert await copy.run(ignore) is None
    async with opened(copy) as target:
        assert await target.audit() == before


@pytest.mark.dynamodb
async def test_copy_refuses_a_ledger_in_use(copy: LedgerCopy) -> None:
    async with opened(copy) as target:
        await target.add_feeds({FEEDS[0]: Checkpoint()})
        await target.beat()
    with pytest.raises(LedgerError, match="is in use"):
        await copy.run(ignore)


@pytest.mark.dynamodb
async def test_copy_refuses_the_copy_of_another_state(copy: LedgerCopy) -> None:
    await copy.run(ignore)
    async with SqliteLedger(copy.source) as source:
        await record(source, ["later"], START + 16 * DAY)
    with pytest.raises(LedgerError, match="an earlier state of this one"):
        await copy.run(ignore)


@pytest.mark.dynamodb
async def test_copy_is_not_continued_after_the_retention(copy: LedgerCopy) -> None:
    """The retention deletes payloads, and changes no counter. Another prefix gets a complete copy."""

    def interrupt(done: int, _total: int) -> None:
        if done >= len(PENDING) + BATCH_ROWS:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await copy.run(interrupt)
    async with SqliteLedger(copy.source) as source:
        before = await source.counters()
        while await source.apply_retention(now=START + 23 * DAY, id_retention=90 * DAY, payload_retention=7 * DAY):
            pass
        assert await source.counters() == before
    with pytest.raises(LedgerError, match="an earlier state of this one") as refused:
        await copy.run(ignore)
    assert refused.value.hint == "copy into an empty table, or under another prefix"
    again = replace(copy, location=replace(copy.location, prefix="again"))
    assert await again.run(ignore) == before
    async with SqliteLedger(copy.source) as source, opened(again) as target:
        for each in (PENDING[0], SENT[5], DEAD[0]):
            assert await target.stored_entry(each) == await source.stored_entry(each), each


@pytest.mark.dynamodb
async def test_copy_refuses_an_unverified_bus(copy: LedgerCopy) -> None:
    async with SqliteLedger(copy.source) as source:
        await settle(source, PENDING[1:2], "sent", START + 16 * DAY)
    with pytest.raises(LedgerError, match="the bus failures was not verified"):
        await copy.run(ignore)


@pytest.mark.dynamodb
async def test_copy_refuses_a_source_on_which_a_process_runs(copy: LedgerCopy) -> None:
    with RunningLock(copy.source), pytest.raises(LedgerLocked):
        await copy.run(ignore)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("forwarder.db", "dynamodb://table?region=eu-west-1", "FROM is no ledger in a file"),
        ("sqlite:///forwarder.db", "sqlite:///other.db", "TO is no table of DynamoDB"),
        ("sqlite:///forwarder.db", "dynamodb://table", "TO names no region"),
    ],
)
def test_copy_refuses_other_urls(tmp_path: Path, source: str, target: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LedgerCopy.of(ConfigSource(tmp_path / "forwarder.toml", {}), LocalSettings(), source, target)


@pytest.mark.parametrize("execution_id", ["", "a", "6daaa0cf1a3daa6c41b5-ef", "ü\udc80", *ids("x", 30)])
def test_digest_of_a_row_is_that_of_the_table(execution_id: str) -> None:
    assert hex_digest(*codec.digest(execution_id)) == schema.digest(execution_id)
