"""The audit of `forwarder check`, with keys that may use the items of one prefix and scan no table."""

import asyncio
from pathlib import Path

import pytest

from forwarder.diagnostics.local import check_counters
from forwarder.diagnostics.results import CheckResult
from forwarder.errors import AuditInterrupted, LedgerDenied, LedgerError
from forwarder.ledger import Counters
from tests.factories import some_settings
from tests.harness.dynamodb_faults import DENIED, PASS, Fault, Hold, Plan, Request, always
from tests.ledger.fleet_table import SharedTable
from tests.vault.vault_folder import filled_vault_folder

pytestmark = pytest.mark.dynamodb


async def check(table: SharedTable, folder: Path, plan: Plan) -> CheckResult:
    """Return the result of the check on a table with a sent and a pending entry."""
    member = await table.member(prefix="orders")
    await member.record("sent", "pending")
    await member.send((await member.tokens())["sent"])
    await member.beat()
    member.proxy.plan = plan
    url = f"dynamodb://{table.name}?region=eu-west-1&prefix=orders&endpoint_url={member.proxy.endpoint_url}"
    return await check_counters(filled_vault_folder(folder).config_source, some_settings(ledger={"url": url}))


def deny(operation: str) -> Plan:
    def plan(request: Request) -> Fault:
        return DENIED if request.operation == operation else PASS

    return plan


async def test_check_that_may_not_scan_leaves_the_counters_unproved(table: SharedTable, tmp_path: Path) -> None:
    result = await check(table, tmp_path, deny("Scan"))
    assert (result.error, result.skipped) == (None, True)
    assert "not proved" in result.message
    assert "2 recorded, 1 pending, 1 sent, 0 dead" in result.message
    assert "denies access" in result.message
    assert "AuditLedger=yes in infra/identity.yaml" in result.message


@pytest.mark.parametrize("plan", [deny("Query"), deny("BatchGetItem"), always(DENIED)])
async def test_check_without_a_right_that_a_run_needs_fails(table: SharedTable, tmp_path: Path, plan: Plan) -> None:
    result = await check(table, tmp_path, plan)
    assert (type(result.error), result.skipped) == (LedgerDenied, False)


async def test_check_that_may_scan_counts_the_items(table: SharedTable, tmp_path: Path) -> None:
    result = await check(table, tmp_path, always(PASS))
    assert result.message == "balanced: 2 recorded, 1 pending, 1 sent, 0 dead"


class HoldAfterScan(Hold):
    """A plan that holds the first request to a journal after a scan."""

    def __init__(self) -> None:
        super().__init__(lambda request: request.operation == "Query" and b"j#" in request.body)
        self._has_scanned = False

    def __call__(self, request: Request) -> Fault:
        self._has_scanned = self._has_scanned or request.operation == "Scan"
        return super().__call__(request) if self._has_scanned else PASS


async def test_failure_recorded_during_an_audit_is_no_fault(table: SharedTable) -> None:
    """`forwarder check` runs beside processes that work."""
    member, command = await table.member(), await table.start()
    await member.record("a")
    command.proxy.plan = hold = HoldAfterScan()
    auditing = asyncio.create_task(command.ledger.audit())
    await hold.reached.wait()
    await member.record("b")
    hold.release()
    assert await auditing == Counters(recorded=2, pending=2)


async def test_audit_that_is_always_interrupted_proves_nothing(table: SharedTable) -> None:
    member, command = await table.member(), await table.start()
    await member.record("a")
    command.proxy.plan = hold = HoldAfterScan()
    auditing = asyncio.create_task(command.ledger.audit())
    number = 0
    while not auditing.done():
        reached = asyncio.create_task(hold.reached.wait())
        await asyncio.wait([reached, auditing], return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        await member.record(f"b-{(number := number + 1)}")
        command.proxy.plan, before = HoldAfterScan(), hold
        hold = command.proxy.plan
        before.release()
    with pytest.raises(AuditInterrupted):
        await auditing


async def test_audit_finds_an_item_that_is_missing(table: SharedTable) -> None:
    member, command = await table.member(), await table.start()
    await member.record("a", "b")
    (key, _) = [key for key in await command.ledger.all_items() if key.p.startswith("x#")]
    await member.send((await member.tokens())["a"])
    await member.beat()
    items = await command.ledger.all_items()
    await command.ledger.put_item(key, items[key] | {"st": 2})
    with pytest.raises(LedgerError, match="do not balance"):
        await command.ledger.audit()
