"""A damaged row never blocks the others, and never gives an entry the detail of another."""

from pathlib import Path

import pytest

from forwarder.ledger import UNDECODABLE, Dead, Postponed, Sent, SqliteLedger
from tests.ledger.ledger_files import execute_sql
from tests.ledger.stored_payloads import LATER, PAYLOAD_RETENTION, detail, record_numbers
from tests.virtual_clock import NOON


async def test_claim_dead_letters_entry_with_unreadable_payload(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        await record_numbers(ledger, range(5))
        execute_sql(file, "UPDATE payloads SET body = x'00' WHERE entry = 2")
        execute_sql(file, "DELETE FROM payloads WHERE entry = 4")
        assert [(each.token, each.entry.detail) for each in await ledger.claim(10, now=NOON)] == [
            (number + 1, detail(number)) for number in (0, 2, 4)
        ]
        dead_letters = await ledger.dead_letters()
        assert [(each.entry.execution_id, each.code, each.entry.detail) for each in dead_letters] == [
            (f"e-{number}", UNDECODABLE, b"null") for number in (1, 3)
        ]


@pytest.mark.parametrize(
    ("body", "is_readable"), [("CAST(body AS TEXT)", True), ("5", False), ("1.5", False), ("''", False)]
)
async def test_claim_with_payload_of_wrong_type_continues(tmp_path: Path, body: str, *, is_readable: bool) -> None:
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        await record_numbers(ledger, range(4))
        execute_sql(tmp_path / "ledger.db", f"UPDATE payloads SET body = {body} WHERE entry = 1")  # noqa: S608  # texts of this test
        claimed = await ledger.claim(9, now=NOON)
        assert [each.entry.detail for each in claimed] == [
            detail(number) for number in range(0 if is_readable else 1, 4)
        ]
        await ledger.settle([Sent(each.token, "id") for each in claimed], now=NOON)
        await ledger.apply_retention(now=LATER, id_retention=2 * PAYLOAD_RETENTION, payload_retention=PAYLOAD_RETENTION)
        assert (await ledger.counters()).dead == (0 if is_readable else 1)


async def test_payload_under_a_damaged_key_is_never_used(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        await record_numbers(ledger, range(9))
        execute_sql(file, "DELETE FROM payloads WHERE entry = 3")
        execute_sql(file, "UPDATE payloads SET entry = 3 WHERE entry = 7")
        assert [(each.token, each.entry.detail) for each in await ledger.claim(100, now=NOON)] == [
            (number + 1, detail(number)) for number in range(9) if number not in (2, 6)
        ]


@pytest.mark.parametrize(
    "damage",
    [
        *("time = x'00'", "time = 9e999", "time = 'noon'", "due_at = 'abc'", "entry = -5", "feed = x'00'"),
        *("unclassified_attempts = x'00'", "unclassified_attempts = 'a'", "attempts = x'00'", "execution_id = x'00'"),
        *("execution_id = CAST(x'ff41' AS TEXT)", "history = x'ff', time = x'00'"),
    ],
)
async def test_claim_with_invalid_cell_continues(tmp_path: Path, damage: str) -> None:
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        await record_numbers(ledger, range(9))
        execute_sql(tmp_path / "ledger.db", f"UPDATE entries SET {damage} WHERE entry = 5")  # noqa: S608  # texts of this test
        claimed = await ledger.claim(20, now=NOON)
        others = [(each.entry.execution_id, each.entry.detail) for each in claimed if each.token not in (5, -5)]
        assert others == [(f"e-{number}", detail(number)) for number in range(9) if number != 4]
        assert await ledger.claim(20, now=NOON) == []
        await ledger.settle(
            [Postponed(each.token, "Later", LATER, unclassified_attempt=True) for each in claimed], now=NOON
        )
        await ledger.settle([Dead(each.token, "No", "no") for each in claimed], now=NOON)
        assert (await ledger.counters()).dead == 9


async def test_claim_with_invalid_feed_name_continues(tmp_path: Path) -> None:
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        await record_numbers(ledger, range(3))
        execute_sql(tmp_path / "ledger.db", "UPDATE feeds SET workflow_id = CAST(x'ff41' AS TEXT)")
        assert [each.entry.detail for each in await ledger.claim(9, now=NOON)] == [detail(each) for each in range(3)]


async def test_record_after_damaged_sequence_uses_huge_numbers(tmp_path: Path) -> None:
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        await record_numbers(ledger, [0])
        execute_sql(tmp_path / "ledger.db", "UPDATE sqlite_sequence SET seq = ?", *(2**56 + 2**55,))
        await record_numbers(ledger, [1, 2])
        assert [each.entry.detail for each in await ledger.claim(9, now=NOON)] == [detail(each) for each in range(3)]
