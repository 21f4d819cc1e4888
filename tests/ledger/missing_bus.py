"""The contract of requeueing: events that a missing bus accepted become pending again."""

from forwarder.ledger import Counters, Sent
from tests.ledger.contract import ANOTHER_BUS, BUS, DAY, HOUR, LedgerContract, OpenLedger, claim_tokens, record_ids
from tests.virtual_clock import NOON


class MissingBusContract(LedgerContract):
    async def test_requeue_of_missing_bus_does_not_depend_on_the_clock(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, *"abc")
            token = await claim_tokens(ledger)
            first = await ledger.settle([Sent(token["a"], "e-a")], now=NOON + HOUR, bus=BUS)
            assert first == await ledger.last_settlement_seq()
            await ledger.save_bus_verified(BUS, first)
            assert await ledger.unverified_buses() == []
            await ledger.settle([Sent(token["b"], "e-b")], now=NOON - HOUR, bus=BUS)
            await ledger.save_bus_verified(BUS, first - 1)  # an older verification, saved late
            await ledger.settle([Sent(token["c"], "e-c")], now=NOON + DAY, bus=BUS)
            assert await ledger.unverified_buses() == [BUS]
            assert await ledger.requeue(ANOTHER_BUS, now=NOON) == 0
            assert await ledger.requeue(BUS, now=NOON) == 2
            assert sorted(await claim_tokens(ledger)) == ["b", "c"]
            assert await ledger.requeue(BUS, now=NOON) == 0
            assert await ledger.unverified_buses() == []
            assert await ledger.audit() == Counters(recorded=3, pending=2, sent=1)

    async def test_bus_missing_twice_requeues_events_in_between(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, *"ab")
            token = await claim_tokens(ledger)
            await ledger.save_bus_verified(BUS, 0)
            await ledger.settle([Sent(token["a"], "e-a")], now=NOON, bus=BUS)
            assert await ledger.requeue(BUS, now=NOON) == 1
            await ledger.settle([Sent(token["b"], "e-b")], now=NOON, bus=BUS)
            assert await ledger.requeue(BUS, now=NOON) == 1
            assert sorted(await claim_tokens(ledger)) == ["a", "b"]

    async def test_requeue_keeps_the_send_number(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, "a")
            await ledger.save_bus_verified(BUS, 0)
            for expected in (1, 2):
                await ledger.settle([Sent((await claim_tokens(ledger))["a"], "e-a")], now=NOON, bus=BUS)
                assert await ledger.requeue(BUS, now=NOON) == 1
                (claimed,) = await ledger.claim(9, now=NOON)
                assert claimed.send_number == expected
                await ledger.settle([Sent(claimed.token, "e-a")], now=NOON, bus=BUS)
                assert await ledger.replay_executions(["a"], now=NOON) == 1

    async def test_retention_keeps_unverified_payloads_of_any_age(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, *"ab")
            token = await claim_tokens(ledger)
            settlement_seq = await ledger.settle([Sent(token["a"], "e-a")], now=NOON, bus=BUS)
            await ledger.save_bus_verified(BUS, settlement_seq)
            await ledger.settle([Sent(token["b"], "e-b")], now=NOON, bus=BUS)
            await ledger.apply_retention(now=NOON + DAY, id_retention=365 * DAY, payload_retention=HOUR)
            assert await ledger.requeue(BUS, now=NOON + DAY) == 1
            assert list(await claim_tokens(ledger, after=DAY)) == ["b"]
            assert (await ledger.audit()).sent == 1

    async def test_requeue_affects_the_missing_bus_only(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, *"ab")
            token = await claim_tokens(ledger)
            await ledger.save_bus_verified(BUS, 0)
            await ledger.save_bus_verified(ANOTHER_BUS, 0)
            await ledger.settle([Sent(token["a"], "e-a")], now=NOON, bus=BUS)
            await ledger.settle([Sent(token["b"], "e-b")], now=NOON, bus=ANOTHER_BUS)
        async with open_ledger() as ledger:
            assert sorted(await ledger.unverified_buses()) == [ANOTHER_BUS, BUS]
            assert await ledger.requeue(BUS, now=NOON) == 1
            assert list(await claim_tokens(ledger)) == ["a"]
            await ledger.save_bus_verified(ANOTHER_BUS, await ledger.last_settlement_seq())
            assert await ledger.unverified_buses() == []
