"""The copy of a ledger from a file to a table keeps everything, and a forwarder continues on it."""

from dataclasses import replace

import pytest

from forwarder.ledger import (
    EntryFilter,
    SqliteLedger,
)
from forwarder.ledger.copy import LedgerCopy
from forwarder.ledger.sqlite import export
from tests.ledger.copied_ledger import (
    DAY,
    DEAD,
    EXPIRED,
    FEEDS,
    PENDING,
    PURGED,
    SENT,
    START,
    execution_id_of,
    ids,
    ignore,
    opened,
    record,
)


@pytest.mark.dynamodb
async def test_copy_keeps_everything(copy: LedgerCopy) -> None:
    shown: list[tuple[int, int]] = []
    copied = await copy.run(lambda done, total: shown.append((done, total)))
    total = len([*SENT, *EXPIRED, *PURGED, *DEAD, *PENDING])
    assert shown[-1] == (total, total)
    everything = [*SENT, *EXPIRED, *PURGED, *DEAD, *PENDING]
    async with SqliteLedger(copy.source) as source, opened(copy) as target:
        assert copied == await source.counters() == await target.counters() == await target.audit()
        assert await target.known_ids([*everything, "other"]) == set(everything)
        assert await target.find_feed(EXPIRED[0]) == FEEDS[0]
        assert await target.feeds() == await source.feeds()
        assert await target.discovered_at(0) == START
        assert await target.retention_gap() == await source.retention_gap()
        assert await target.saved_switch() is False
        for each in (SENT[5], SENT[14], EXPIRED[0], PURGED[0], DEAD[0], PENDING[0], SENT[0]):
            assert await target.stored_entry(each) == await source.stored_entry(each), each
        assert sorted(await target.dead_letters(), key=execution_id_of) == await source.dead_letters()
        assert await target.oldest_pending() == await source.oldest_pending()
        assert await target.pending_replays() == 2
        assert await target.unverified_buses() == []


@pytest.mark.dynamodb
async def test_copy_in_batches_of_the_usual_size_keeps_everything(
    copy: LedgerCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    more, now = ids("more", export.BATCH_ROWS), START + 15 * DAY
    async with SqliteLedger(copy.source) as source:
        await record(source, more, now)
    copied = await copy.run(ignore)
    async with SqliteLedger(copy.source) as source, opened(copy) as target:
        assert copied == await source.counters() == await target.audit()
        assert await target.known_ids(more) == set(more)
        await target.beat()
        claimed = await target.claim(1000, now=START + 16 * DAY)
        assert {each.entry.execution_id for each in claimed} == {*PENDING, *SENT[:2], *more}


@pytest.mark.dynamodb
async def test_copied_pending_entries_are_adopted_with_their_attempts(copy: LedgerCopy) -> None:
    await copy.run(ignore)
    now = START + 16 * DAY
    async with SqliteLedger(copy.source) as source, opened(copy) as target:
        await target.beat()
        before = {each.entry.execution_id: replace(each, token="") for each in await source.claim(1000, now=now)}
        after = {each.entry.execution_id: replace(each, token="") for each in await target.claim(1000, now=now)}
        assert before == after
        assert set(after) == {*PENDING, *SENT[:2]}
        assert (after[PENDING[0]].unclassified_attempts, after[SENT[0]].send_number) == (1, 2)
        assert await target.audit() == await source.counters()


@pytest.mark.dynamodb
async def test_copied_events_can_be_replayed_and_dead_letters_retried(copy: LedgerCopy) -> None:
    await copy.run(ignore)
    now = START + 16 * DAY
    async with opened(copy) as target:
        await target.beat()
        await target.claim(1000, now=now)
        assert await target.replay_executions([SENT[7], EXPIRED[0]], now=now) == 1
        assert await target.retry_dead_letters([DEAD[1]], now=now) == 1
        assert await target.purge_dead_letters([DEAD[2]]) == 1
        claimed = await target.claim(10, now=now)
        assert {(each.entry.execution_id, each.send_number) for each in claimed} == {(SENT[7], 2), (DEAD[1], 1)}
        await target.audit()


@pytest.mark.dynamodb
async def test_copied_events_are_listed(copy: LedgerCopy) -> None:
    await copy.run(ignore)
    async with SqliteLedger(copy.source) as source, opened(copy) as target:
        await target.beat()
        for matching in (EntryFilter(), EntryFilter(state="pending"), EntryFilter(state="sent")):
            pages = [await each.entries(matching, 1000) for each in (source, target)]
            before, after = ({each.entry.execution_id: each.state for each in page.entries} for page in pages)
            assert before == after
        assert (await target.activity(await target.last_activity(), 10)).recorded == []
