"""The contract of the queries that the page displays."""

from datetime import timedelta

import pytest

from forwarder.ledger import (
    Dead,
    EntryFilter,
    EntryPage,
    Lag,
    MinuteCounts,
    Postponed,
    Sent,
    Settlement,
    StoredEntry,
    TimeWindow,
    Traffic,
)
from forwarder.model import Checkpoint
from tests.factories import FEED, add_feed, entry
from tests.ledger.contract import (
    DAY,
    HOUR,
    SECOND,
    LedgerContract,
    OpenLedger,
    apply_all_retention,
    claim_tokens,
    record_ids,
)
from tests.virtual_clock import NOON

MINUTE = timedelta(minutes=1)


class QueryContract(LedgerContract):
    async def test_queries_of_empty_ledger_return_nothing(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            assert (
                await ledger.entries(EntryFilter(), 10)
                == await ledger.entries(EntryFilter("dead"), 10)
                == EntryPage([])
            )
            nothing = await ledger.activity(None, 10)
            assert (nothing.recorded, nothing.sent) == ([], [])
            assert await ledger.stored_entry("a") is None
            assert await ledger.traffic(now=NOON) == Traffic([], None)

    async def test_entries_are_newest_first_with_results(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, *"abcd")
            token = await claim_tokens(ledger)
            outcomes: list[Settlement] = [
                Sent(token["a"], "event-1"),
                Dead(token["b"], "MalformedDetail", "no object"),
                Postponed(token["c"], "X", NOON + SECOND),
            ]
            await ledger.settle(outcomes, now=NOON + SECOND)
        sent = StoredEntry(entry("a"), "sent", NOON, NOON + SECOND, 1, "event-1")
        dead = StoredEntry(entry("b"), "dead", NOON, NOON + SECOND, 1, "MalformedDetail", "no object")
        async with open_ledger() as ledger:
            assert (await ledger.entries(EntryFilter(), 9)).entries == [
                StoredEntry(entry("d"), "pending", NOON, None),
                StoredEntry(entry("c"), "pending", NOON, None, 1),
                dead,
                sent,
            ]
            assert (await ledger.entries(EntryFilter("dead"), 3)).entries == [dead]
            assert (await ledger.stored_entry("a"), await ledger.stored_entry("b")) == (sent, dead)

    async def test_stored_entry_pending_again_has_no_result(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, "a")
            await ledger.settle([Dead((await claim_tokens(ledger))["a"], "MalformedDetail", "why")], now=NOON)
            await ledger.retry_dead_letters(None, now=NOON)
            assert await ledger.stored_entry("a") == StoredEntry(entry("a"), "pending", NOON, None, 1)

    async def test_stored_entry_without_payload_is_none(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, "a", "b")
            await ledger.settle([Sent((await claim_tokens(ledger))["a"], "event-1")], now=NOON)
            await apply_all_retention(ledger, now=2 * HOUR)
            assert await ledger.stored_entry("a") is None
            page = await ledger.entries(EntryFilter(), 9)
            assert [each.entry.execution_id for each in page.entries] == ["b"]

    async def test_traffic_counts_each_minute_of_all_processes(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, *"abc")
            await record_ids(ledger, *"abc")
            token = await claim_tokens(ledger)
            await ledger.settle([Sent(token["a"], "e")], now=NOON + 59 * SECOND)
            await ledger.settle([Sent(token["a"], "e"), Dead(token["b"], "X", "")], now=NOON + MINUTE)
            await ledger.settle([Sent(token["c"], "e")], now=NOON + 3 * MINUTE)
        async with open_ledger() as ledger:
            await ledger.record(FEED, [entry("d"), entry("a")], now=NOON + 3 * MINUTE + SECOND)
            traffic = await ledger.traffic(now=NOON + 4 * MINUTE)
            assert traffic.minutes == [MinuteCounts(NOON, 3, 1), MinuteCounts(NOON + 3 * MINUTE, 1, 1)]

    async def test_traffic_covers_one_day(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, "a")
            assert (await ledger.traffic(now=NOON + DAY - MINUTE)).minutes == [MinuteCounts(NOON, 1, 0)]
            assert (await ledger.traffic(now=NOON + DAY)).minutes == []
            assert (await ledger.traffic(now=NOON - MINUTE)).minutes == []
            await apply_all_retention(ledger, now=DAY - MINUTE)
            assert (await ledger.traffic(now=NOON)).minutes == [MinuteCounts(NOON, 1, 0)]
            await apply_all_retention(ledger, now=DAY + MINUTE)
            assert (await ledger.traffic(now=NOON)).minutes == []

    async def test_lag_covers_one_hour_within_five_percent(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await add_feed(ledger, FEED, Checkpoint())
            lags = [timedelta(milliseconds=10 * number) for number in range(1, 101)]
            await ledger.record(FEED, [entry(str(lag), time=NOON - lag) for lag in lags], now=NOON)
            tokens = await claim_tokens(ledger)
            await ledger.settle([Sent(token, "e") for token in tokens.values()], now=NOON)
            lag = (await ledger.traffic(now=NOON)).lag
            assert lag is not None
            assert lag.p50 / timedelta(milliseconds=500) == pytest.approx(1, abs=0.05)
            assert lag.p95 / timedelta(milliseconds=950) == pytest.approx(1, abs=0.05)
            assert (await ledger.traffic(now=NOON + HOUR)).lag is None

    async def test_lag_ignores_replays_and_is_never_negative(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await add_feed(ledger, FEED, Checkpoint())
            await ledger.record(FEED, [entry("a", time=NOON + HOUR)], now=NOON)
            await ledger.settle([Sent((await claim_tokens(ledger))["a"], "e")], now=NOON)
            before = await ledger.traffic(now=NOON)
            assert before.lag == Lag(timedelta(milliseconds=1), timedelta(milliseconds=1))
            await ledger.replay(TimeWindow(NOON, NOON + DAY), now=NOON)
            await ledger.settle([Sent((await claim_tokens(ledger))["a"], "e")], now=NOON)
            assert await ledger.traffic(now=NOON) == Traffic([MinuteCounts(NOON, 1, 2)], before.lag)
