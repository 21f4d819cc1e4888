"""What every kind of ledger must do about a bus that was not there, and accepted all the same."""

from forwarder.ledger import Books, Sent
from tests.clocks import NOON
from tests.ledger.contract import ANOTHER_BUS, BUS, DAY, HOUR, LedgerContract, Open, owe, taken
from tests.loops import looped


class MissingBusContract(LedgerContract):
    @looped
    async def test_what_a_missing_bus_accepted_since_it_was_seen_is_owed_again_whatever_the_clock_did(
        self, opened: Open
    ) -> None:
        async with opened() as ledger:
            await owe(ledger, *"abc")
            token = await taken(ledger)
            first = await ledger.settle([Sent(token["a"], "e-a")], now=NOON + HOUR, bus=BUS)
            assert first == await ledger.last_settle()
            await ledger.note_bus(BUS, first)
            assert await ledger.buses_in_doubt() == []
            await ledger.settle([Sent(token["b"], "e-b")], now=NOON - HOUR, bus=BUS)
            await ledger.note_bus(BUS, first - 1)  # an older sight, noted late
            await ledger.settle([Sent(token["c"], "e-c")], now=NOON + DAY, bus=BUS)
            assert await ledger.buses_in_doubt() == [BUS]
            assert await ledger.owe_again(ANOTHER_BUS, now=NOON) == 0
            assert await ledger.owe_again(BUS, now=NOON) == 2
            assert sorted(await taken(ledger)) == ["b", "c"]
            assert await ledger.owe_again(BUS, now=NOON) == 0
            assert await ledger.buses_in_doubt() == []
            assert await ledger.audit() == Books(recorded=3, owed=2, sent=1)

    @looped
    async def test_a_bus_that_is_missed_twice_is_owed_what_it_swallowed_in_between(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, *"ab")
            token = await taken(ledger)
            await ledger.note_bus(BUS, 0)
            await ledger.settle([Sent(token["a"], "e-a")], now=NOON, bus=BUS)
            assert await ledger.owe_again(BUS, now=NOON) == 1
            await ledger.settle([Sent(token["b"], "e-b")], now=NOON, bus=BUS)
            assert await ledger.owe_again(BUS, now=NOON) == 1
            assert sorted(await taken(ledger)) == ["a", "b"]

    @looped
    async def test_what_is_in_doubt_is_kept_however_old_it_is(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, *"ab")
            token = await taken(ledger)
            seen = await ledger.settle([Sent(token["a"], "e-a")], now=NOON, bus=BUS)
            await ledger.note_bus(BUS, seen)
            await ledger.settle([Sent(token["b"], "e-b")], now=NOON, bus=BUS)
            await ledger.sweep(now=NOON + DAY, remember=365 * DAY, keep_payload=HOUR)
            assert await ledger.owe_again(BUS, now=NOON + DAY) == 1
            assert list(await taken(ledger, after=DAY)) == ["b"]
            assert (await ledger.audit()).sent == 1

    @looped
    async def test_what_one_bus_accepted_is_not_owed_again_because_another_was_missing(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, *"ab")
            token = await taken(ledger)
            await ledger.note_bus(BUS, 0)
            await ledger.note_bus(ANOTHER_BUS, 0)
            await ledger.settle([Sent(token["a"], "e-a")], now=NOON, bus=BUS)
            await ledger.settle([Sent(token["b"], "e-b")], now=NOON, bus=ANOTHER_BUS)
        async with opened() as ledger:
            assert sorted(await ledger.buses_in_doubt()) == [ANOTHER_BUS, BUS]
            assert await ledger.owe_again(BUS, now=NOON) == 1
            assert list(await taken(ledger)) == ["a"]
            await ledger.note_bus(ANOTHER_BUS, await ledger.last_settle())
            assert await ledger.buses_in_doubt() == []
