"""Payloads are deleted when they are old enough, and kept while they may have to be sent again."""

from pathlib import Path

import pytest

from forwarder.ledger import Counters, Dead, Sent, SqliteLedger
from forwarder.ledger.sqlite.retention import PAYLOADS_PER_STEP
from tests.ledger.stored_payloads import LATER, PAYLOAD_RETENTION, all_payloads, detail, numbers_on_disk, record_numbers
from tests.virtual_clock import NOON


async def test_retention_keeps_dead_letters(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        await record_numbers(ledger, range(10))
        claimed = await ledger.claim(10, now=NOON)
        await ledger.settle([Sent(each.token, "id") for each in claimed[:3]], now=NOON)
        await ledger.settle([Dead(claimed[3].token, "No", "no")], now=NOON)
        await ledger.apply_retention(now=LATER, id_retention=2 * PAYLOAD_RETENTION, payload_retention=PAYLOAD_RETENTION)
        assert numbers_on_disk(file, range(10)) == list(range(3, 10))
        assert (await ledger.dead_letters())[0].entry.detail == detail(3)
        await ledger.settle([Sent(each.token, "id") for each in claimed[4:]], now=NOON)
        await ledger.apply_retention(now=LATER, id_retention=2 * PAYLOAD_RETENTION, payload_retention=PAYLOAD_RETENTION)
        assert numbers_on_disk(file, range(10)) == [3]
        assert (await ledger.dead_letters())[0].entry.detail == detail(3)
        await ledger.purge_dead_letters(None)
        assert all_payloads(file) == b""
        assert await ledger.audit() == Counters(recorded=10, sent=9, purged=1)


async def test_retention_step_deletes_its_share(tmp_path: Path) -> None:
    count = 2 * PAYLOADS_PER_STEP
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        for number in range(count):
            await record_numbers(ledger, [number])
        claimed = await ledger.claim(count, now=NOON)
        await ledger.settle([Sent(each.token, "id") for each in claimed], now=NOON)
        steps = 1
        while await ledger.apply_retention(
            now=LATER, id_retention=2 * PAYLOAD_RETENTION, payload_retention=PAYLOAD_RETENTION
        ):
            steps += 1
        assert steps <= count // PAYLOADS_PER_STEP + 1
    assert all_payloads(tmp_path / "ledger.db") == b""


async def test_retention_skips_unverified_payloads_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forwarder.ledger.sqlite.retention.PAYLOADS_PER_STEP", 2)
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        for number in range(8):
            await record_numbers(ledger, [number])
        tokens = [each.token for each in await ledger.claim(8, now=NOON)]
        await ledger.save_bus_verified("unverified", 0)
        await ledger.settle([Sent(token, "id") for token in tokens[:4]], now=NOON, bus="unverified")
        await ledger.settle([Sent(token, "id") for token in tokens[4:]], now=NOON, bus="verified")
        while await ledger.apply_retention(
            now=LATER, id_retention=2 * PAYLOAD_RETENTION, payload_retention=PAYLOAD_RETENTION
        ):
            pass
        assert numbers_on_disk(tmp_path / "ledger.db", range(8)) == [0, 1, 2, 3]
