"""Details leave the disk when they are old enough, each alone, and no pack is packed anew more often than it must."""

from pathlib import Path

import pytest

from forwarder.ledger import Books, Dead, Sent, SqliteLedger
from forwarder.ledger.sweeping import DETAILS_A_STEP, PACKS_A_STEP
from tests.clocks import NOON
from tests.ledger.packs import KEPT, LATER, detail, held, plants, recorded
from tests.loops import looped


@looped
async def test_what_was_sent_is_let_go_of_and_a_dead_letter_beside_it_stays(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        await recorded(ledger, range(10))
        taken = await ledger.take(10, now=NOON)
        await ledger.settle([Sent(each.token, "id") for each in taken[:3]], now=NOON)
        await ledger.settle([Dead(taken[3].token, "No", "no")], now=NOON)
        await ledger.sweep(now=LATER, remember=2 * KEPT, keep_payload=KEPT)
        assert plants(file, range(10)) == list(range(3, 10))
        assert (await ledger.dead_letters())[0].entry.detail == detail(3)
        await ledger.settle([Sent(each.token, "id") for each in taken[4:]], now=NOON)
        await ledger.sweep(now=LATER, remember=2 * KEPT, keep_payload=KEPT)
        assert plants(file, range(10)) == [3]
        assert (await ledger.dead_letters())[0].entry.detail == detail(3)
        await ledger.purge_dead(None)
        assert held(file) == b""
        assert await ledger.audit() == Books(recorded=10, sent=9, purged=1)


@looped
async def test_a_step_of_a_sweep_lets_go_of_all_that_is_old_in_the_packs_it_touches(tmp_path: Path) -> None:
    """Settled across many packs, as after an outage: each pack is packed anew once, and not for each of its entries."""
    file = tmp_path / "ledger.db"
    pages, page = 2 * PACKS_A_STEP, 8
    async with SqliteLedger(file, create=True) as ledger:
        for first in range(0, pages * page, page):
            await recorded(ledger, range(first, first + page))
        taken = await ledger.take(pages * page, now=NOON)
        for place in range(page - 1):  # one of each page stays owed
            await ledger.settle([Sent(each.token, "id") for each in taken[place::page]], now=NOON)
        steps = 0
        while await ledger.sweep(now=LATER, remember=2 * KEPT, keep_payload=KEPT):
            steps += 1
        assert steps <= pages // PACKS_A_STEP + 1
    assert plants(file, range(pages * page)) == list(range(page - 1, pages * page, page))


@looped
async def test_packs_of_one_go_as_quickly_as_others(tmp_path: Path) -> None:
    count = 2 * DETAILS_A_STEP
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        for number in range(count):
            await recorded(ledger, [number])
        taken = await ledger.take(count, now=NOON)
        await ledger.settle([Sent(each.token, "id") for each in taken], now=NOON)
        steps = 1
        while await ledger.sweep(now=LATER, remember=2 * KEPT, keep_payload=KEPT):
            steps += 1
        assert steps <= count // DETAILS_A_STEP + 1
    assert held(tmp_path / "ledger.db") == b""


@looped
async def test_what_is_in_doubt_does_not_keep_what_was_sent_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forwarder.ledger.sweeping.DETAILS_A_STEP", 2)
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        for number in range(8):
            await recorded(ledger, [number])
        tokens = [each.token for each in await ledger.take(8, now=NOON)]
        await ledger.note_bus("doubted", 0)
        await ledger.settle([Sent(token, "id") for token in tokens[:4]], now=NOON, bus="doubted")
        await ledger.settle([Sent(token, "id") for token in tokens[4:]], now=NOON, bus="seen")
        while await ledger.sweep(now=LATER, remember=2 * KEPT, keep_payload=KEPT):
            pass
        assert plants(tmp_path / "ledger.db", range(8)) == [0, 1, 2, 3]
