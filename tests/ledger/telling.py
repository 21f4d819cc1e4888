"""What a ledger tells of itself to whoever looks at the page: part of the contract."""

from datetime import timedelta

import pytest

from forwarder.ledger import Dead, Held, Lag, Minute, Postponed, Sent, Settlement, Traffic, Window
from forwarder.model import Checkpoint
from tests.clocks import NOON
from tests.ledger.contract import DAY, HOUR, SECOND, LedgerContract, Open, forget_all, owe, taken
from tests.loops import looped
from tests.samples import FEED, begun, entry

MINUTE = timedelta(minutes=1)


class TellingContract(LedgerContract):
    @looped
    async def test_an_empty_ledger_has_nothing_to_tell(self, opened: Open) -> None:
        async with opened() as ledger:
            assert await ledger.latest(10) == await ledger.latest(10, dead=True) == []
            assert await ledger.held("a") is None
            assert await ledger.traffic(now=NOON) == Traffic([], None)

    @looped
    async def test_the_latest_entries_are_told_newest_first_with_what_became_of_them(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, *"abcd")
            token = await taken(ledger)
            outcomes: list[Settlement] = [
                Sent(token["a"], "event-1"),
                Dead(token["b"], "MalformedDetail", "no object"),
                Postponed(token["c"], "X", NOON + SECOND),
            ]
            await ledger.settle(outcomes, now=NOON + SECOND)
        sent = Held(entry("a"), "sent", NOON, NOON + SECOND, 1, "event-1")
        dead = Held(entry("b"), "dead", NOON, NOON + SECOND, 1, "MalformedDetail", "no object")
        async with opened() as ledger:
            assert await ledger.latest(9) == [
                Held(entry("d"), "owed", NOON, None),
                Held(entry("c"), "owed", NOON, None, 1),
                dead,
                sent,
            ]
            assert await ledger.latest(3, dead=True) == [dead]
            assert [each.entry.execution_id for each in await ledger.latest(2)] == ["d", "c"]
            assert (await ledger.held("a"), await ledger.held("b")) == (sent, dead)

    @looped
    async def test_the_dead_are_told_in_the_order_of_their_deaths(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, *"abc")
            token = await taken(ledger)
            for number, each in enumerate("bca"):
                await ledger.settle([Dead(token[each], "X", "")], now=NOON + number * SECOND)
            assert [each.entry.execution_id for each in await ledger.latest(2, dead=True)] == ["a", "c"]

    @looped
    async def test_what_is_owed_once_more_has_no_answer_any_more(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, "a")
            await ledger.settle([Dead((await taken(ledger))["a"], "MalformedDetail", "why")], now=NOON)
            await ledger.retry_dead(None, now=NOON)
            assert await ledger.held("a") == Held(entry("a"), "owed", NOON, None, 1)

    @looped
    async def test_what_is_not_held_any_more_cannot_be_told(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, "a", "b")
            await ledger.settle([Sent((await taken(ledger))["a"], "event-1")], now=NOON)
            await forget_all(ledger, now=2 * HOUR)
            assert await ledger.held("a") is None
            assert [each.entry.execution_id for each in await ledger.latest(9)] == ["b"]

    @looped
    async def test_what_is_recorded_and_sent_is_counted_by_the_minute_and_by_every_process(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, *"abc")
            await owe(ledger, *"abc")
            token = await taken(ledger)
            await ledger.settle([Sent(token["a"], "e")], now=NOON + 59 * SECOND)
            await ledger.settle([Sent(token["a"], "e"), Dead(token["b"], "X", "")], now=NOON + MINUTE)
            await ledger.settle([Sent(token["c"], "e")], now=NOON + 3 * MINUTE)
        async with opened() as ledger:
            await ledger.record(FEED, [entry("d"), entry("a")], now=NOON + 3 * MINUTE + SECOND)
            traffic = await ledger.traffic(now=NOON + 4 * MINUTE)
            assert traffic.minutes == [Minute(NOON, 3, 1), Minute(NOON + 3 * MINUTE, 1, 1)]

    @looped
    async def test_a_day_of_minutes_is_told_and_kept(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, "a")
            assert (await ledger.traffic(now=NOON + DAY - MINUTE)).minutes == [Minute(NOON, 1, 0)]
            assert (await ledger.traffic(now=NOON + DAY)).minutes == []
            assert (await ledger.traffic(now=NOON - MINUTE)).minutes == []
            await forget_all(ledger, now=DAY - MINUTE)
            assert (await ledger.traffic(now=NOON)).minutes == [Minute(NOON, 1, 0)]
            await forget_all(ledger, now=DAY + MINUTE)
            assert (await ledger.traffic(now=NOON)).minutes == []

    @looped
    async def test_the_lag_is_that_of_the_last_hour_within_a_twentieth(self, opened: Open) -> None:
        async with opened() as ledger:
            await begun(ledger, FEED, Checkpoint())
            lags = [timedelta(milliseconds=10 * number) for number in range(1, 101)]
            await ledger.record(FEED, [entry(str(lag), time=NOON - lag) for lag in lags], now=NOON)
            tokens = await taken(ledger)
            await ledger.settle([Sent(token, "e") for token in tokens.values()], now=NOON)
            lag = (await ledger.traffic(now=NOON)).lag
            assert lag is not None
            assert lag.p50 / timedelta(milliseconds=500) == pytest.approx(1, abs=0.05)
            assert lag.p95 / timedelta(milliseconds=950) == pytest.approx(1, abs=0.05)
            assert (await ledger.traffic(now=NOON + HOUR)).lag is None

    @looped
    async def test_a_replay_is_sent_and_has_no_lag_and_a_clock_behind_the_source_none_below_zero(
        self, opened: Open
    ) -> None:
        async with opened() as ledger:
            await begun(ledger, FEED, Checkpoint())
            await ledger.record(FEED, [entry("a", time=NOON + HOUR)], now=NOON)
            await ledger.settle([Sent((await taken(ledger))["a"], "e")], now=NOON)
            before = await ledger.traffic(now=NOON)
            assert before.lag == Lag(timedelta(milliseconds=1), timedelta(milliseconds=1))
            await ledger.replay(Window(NOON, NOON + DAY), now=NOON)
            await ledger.settle([Sent((await taken(ledger))["a"], "e")], now=NOON)
            assert await ledger.traffic(now=NOON) == Traffic([Minute(NOON, 1, 2)], before.lag)
