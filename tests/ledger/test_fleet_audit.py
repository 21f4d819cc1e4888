"""The audit of `forwarder check`, with keys that may use the items of one prefix and scan no table."""

from pathlib import Path

import pytest

from forwarder.diagnostics.local import check_counters
from forwarder.diagnostics.results import CheckResult
from forwarder.errors import LedgerDenied
from tests.factories import some_settings
from tests.harness.dynamodb_faults import DENIED, PASS, Fault, Plan, Request, always
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
