"""The contract of the switch, and of the retention of payloads and ids."""

from datetime import datetime, timedelta

import pytest

from forwarder.ledger import Counters, Dead, Ledger, Sent
from forwarder.model import Checkpoint
from tests.factories import FEED, add_feed, entry
from tests.ledger.contract import (
    DAY,
    HOUR,
    OTHER,
    SECOND,
    LedgerContract,
    OpenLedger,
    apply_all_retention,
    claim_tokens,
    record_ids,
)
from tests.virtual_clock import NOON


class RetentionContract(LedgerContract):
    async def save_switch(self, ledger: Ledger, *, enabled: bool, skip: bool, now: datetime) -> bool | None:
        """Save the switch that the store keeps. A shared store keeps that of the fleet."""
        return await ledger.save_switch(enabled=enabled, skip=skip, now=now)

    async def test_save_switch_persists_across_processes(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            assert await self.save_switch(ledger, enabled=True, skip=False, now=NOON) is None
            assert await self.save_switch(ledger, enabled=False, skip=False, now=NOON) is True
        async with open_ledger() as ledger:
            assert await self.save_switch(ledger, enabled=False, skip=True, now=NOON) is False
            assert await self.save_switch(ledger, enabled=True, skip=False, now=NOON) is False

    @pytest.mark.parametrize(
        ("before", "skip", "is_reset"), [(False, True, True), (True, True, False), (False, False, False)]
    )
    async def test_save_switch_on_with_skip_resets_local_floors(
        self, open_ledger: OpenLedger, before: bool, skip: bool, is_reset: bool
    ) -> None:
        kept = Checkpoint(NOON - DAY, NOON - DAY, None, NOON, {"open": NOON})
        async with open_ledger() as ledger:
            await add_feed(ledger, FEED, kept)
            await self.save_switch(ledger, enabled=before, skip=skip, now=NOON - HOUR)
            await self.save_switch(ledger, enabled=True, skip=skip, now=NOON)
            found = await add_feed(ledger, FEED, Checkpoint())
            assert (found.local_floor, found.watermark) == (NOON if is_reset else None, NOON - DAY)

    async def test_retention_deletes_old_payloads_and_keeps_ids(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, *"abc")
            token = await claim_tokens(ledger)
            await ledger.settle([Sent(token["a"], "event"), Dead(token["b"], "X", "")], now=NOON)
            for now in (HOUR, HOUR + SECOND):
                await apply_all_retention(ledger, now=now, id_retention=30 * DAY, payload_retention=HOUR)
                assert await ledger.audit() == Counters(recorded=3, pending=1, sent=1, dead=1)
                assert await ledger.find_feed("a") == FEED
            assert await record_ids(ledger, *"abc") == 0
            assert len(await ledger.dead_letters()) == 1

    async def test_record_does_not_lower_a_raised_floor(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            read_from = await add_feed(ledger, FEED, Checkpoint(floor=NOON - DAY))
            await record_ids(ledger, "a")
            await apply_all_retention(ledger, now=timedelta())
            await ledger.settle([Sent((await claim_tokens(ledger))["a"], "e")], now=NOON)
            await apply_all_retention(ledger, now=2 * DAY)
            await ledger.record(FEED, [], now=NOON + 2 * DAY, checkpoint=Checkpoint(NOON, read_from.floor, None, NOON))
            floor = (await add_feed(ledger, FEED, Checkpoint())).floor
            assert floor is not None
            assert floor >= NOON

    async def test_new_ledger_records_what_is_older_than_the_retention(self, open_ledger: OpenLedger) -> None:
        """With start_from = "beginning", the first scan lists it. No id has been forgotten yet."""
        async with open_ledger() as ledger:
            await add_feed(ledger, FEED, Checkpoint())
            await apply_all_retention(ledger, now=timedelta())
            assert await ledger.record(FEED, [entry("a", time=NOON - 400 * DAY)], now=NOON) == 1


class ForgettingContract(LedgerContract):
    """The contract of a store that deletes ids itself, and counts them."""

    async def test_retention_forgets_old_ids_and_raises_floors(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await add_feed(ledger, FEED, Checkpoint(floor=NOON - 9 * DAY))
            await add_feed(ledger, OTHER, Checkpoint())
            stops = {"old": NOON - HOUR, "late": NOON + 20 * DAY, "pending": NOON - DAY, "dead": NOON - DAY}
            await ledger.record(FEED, [entry(each, time=stop) for each, stop in stops.items()], now=NOON)
            token = await claim_tokens(ledger)
            await ledger.settle(
                [Sent(token["old"], "e"), Sent(token["late"], "e"), Dead(token["dead"], "X", "")], now=NOON
            )
            await apply_all_retention(ledger, now=10 * DAY - HOUR, id_retention=10 * DAY)
            assert (await ledger.audit()).forgotten == 0
        async with open_ledger() as ledger:
            await apply_all_retention(ledger, now=10 * DAY + 2 * HOUR, id_retention=10 * DAY)
            assert await ledger.audit() == Counters(recorded=4, pending=1, sent=1, dead=1, forgotten=1)
            assert await ledger.known_ids(list(stops)) == {"late", "pending", "dead"}
            for status in await ledger.feeds():  # a copy of the workflow lists the same executions
                assert status.checkpoint.floor is not None
                assert NOON - HOUR <= status.checkpoint.floor < NOON

    async def test_retention_forgets_purged_ids(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, "a")
            await ledger.settle([Dead((await claim_tokens(ledger))["a"], "X", "")], now=NOON)
            await ledger.purge_dead_letters(None)
            await apply_all_retention(ledger, now=2 * DAY)
            assert await ledger.audit() == Counters(recorded=1, forgotten=1)

    async def test_retention_forgets_many_ids_in_steps(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, *(f"e-{number}" for number in range(2500)))
            tokens = await claim_tokens(ledger, 5000)
            await ledger.settle([Sent(token, "e") for token in tokens.values()], now=NOON)
            assert await ledger.apply_retention(now=NOON + 3 * DAY, id_retention=DAY, payload_retention=HOUR)
            assert (await ledger.audit()).sent > 0
            await apply_all_retention(ledger, now=3 * DAY)
            # A round continues after the last one. Ids that had a payload when it passed them wait for the next round.
            await apply_all_retention(ledger, now=4 * DAY)
            assert await ledger.audit() == Counters(recorded=2500, forgotten=2500)
