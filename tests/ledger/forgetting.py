"""What every kind of ledger must do as time goes by: the switch, payloads, and ids that are forgotten."""

import pytest

from forwarder.ledger import Books, Dead, Sent
from forwarder.model import Checkpoint
from tests.clocks import NOON
from tests.ledger.contract import DAY, HOUR, OTHER, SECOND, LedgerContract, Open, forget_all, owe, taken
from tests.loops import looped
from tests.samples import FEED, begun, entry


class ForgettingContract(LedgerContract):
    @looped
    async def test_the_switch_is_remembered_across_processes(self, opened: Open) -> None:
        async with opened() as ledger:
            assert await ledger.switch(enabled=True, skip=False, now=NOON) is None
            assert await ledger.switch(enabled=False, skip=False, now=NOON) is True
        async with opened() as ledger:
            assert await ledger.switch(enabled=False, skip=True, now=NOON) is False
            assert await ledger.switch(enabled=True, skip=False, now=NOON) is False

    @pytest.mark.parametrize(
        ("before", "skip", "begins"), [(False, True, True), (True, True, False), (False, False, False)]
    )
    @looped
    async def test_only_off_to_on_with_skip_begins_every_feed_anew(
        self, opened: Open, before: bool, skip: bool, begins: bool
    ) -> None:
        kept = Checkpoint(NOON - DAY, NOON - DAY, None, NOON, {"open": NOON})
        async with opened() as ledger:
            await begun(ledger, FEED, kept)
            await ledger.switch(enabled=before, skip=skip, now=NOON - HOUR)
            await ledger.switch(enabled=True, skip=skip, now=NOON)
            found = await begun(ledger, FEED, Checkpoint())
            assert (found.since, found.watermark) == (NOON if begins else None, NOON - DAY)

    @looped
    async def test_a_sent_payload_is_dropped_when_its_time_is_over_and_its_id_kept(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, *"abc")
            token = await taken(ledger)
            await ledger.settle([Sent(token["a"], "event"), Dead(token["b"], "X", "")], now=NOON)
            for now in (HOUR, HOUR + SECOND):
                await forget_all(ledger, now=now, remember=30 * DAY, keep=HOUR)
                assert await ledger.audit() == Books(recorded=3, owed=1, sent=1, dead=1)
                assert await ledger.find("a") == FEED
            assert await owe(ledger, *"abc") == 0
            assert len(await ledger.dead_letters()) == 1

    @looped
    async def test_an_id_is_forgotten_when_it_was_recorded_and_stopped_long_ago(self, opened: Open) -> None:
        async with opened() as ledger:
            await begun(ledger, FEED, Checkpoint(floor=NOON - 9 * DAY))
            await begun(ledger, OTHER, Checkpoint())
            stops = {"old": NOON - HOUR, "late": NOON + 20 * DAY, "owed": NOON - DAY, "dead": NOON - DAY}
            await ledger.record(FEED, [entry(each, time=stop) for each, stop in stops.items()], now=NOON)
            token = await taken(ledger)
            await ledger.settle(
                [Sent(token["old"], "e"), Sent(token["late"], "e"), Dead(token["dead"], "X", "")], now=NOON
            )
            await forget_all(ledger, now=10 * DAY - HOUR, remember=10 * DAY)
            assert (await ledger.audit()).forgotten == 0
        async with opened() as ledger:
            await forget_all(ledger, now=10 * DAY + 2 * HOUR, remember=10 * DAY)
            assert await ledger.audit() == Books(recorded=4, owed=1, sent=1, dead=1, forgotten=1)
            assert await ledger.known(list(stops)) == {"late", "owed", "dead"}
            for status in await ledger.feeds():  # a copy of the workflow lists the same executions
                assert status.checkpoint.floor is not None
                assert NOON - HOUR <= status.checkpoint.floor < NOON

    @looped
    async def test_a_purged_id_is_forgotten_too(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, "a")
            await ledger.settle([Dead((await taken(ledger))["a"], "X", "")], now=NOON)
            await ledger.purge_dead(None)
            await forget_all(ledger, now=2 * DAY)
            assert await ledger.audit() == Books(recorded=1, forgotten=1)

    @looped
    async def test_a_floor_raised_while_a_feed_is_read_is_not_lowered_by_that_reading(self, opened: Open) -> None:
        async with opened() as ledger:
            read_from = await begun(ledger, FEED, Checkpoint(floor=NOON - DAY))
            await owe(ledger, "a")
            await ledger.settle([Sent((await taken(ledger))["a"], "e")], now=NOON)
            await forget_all(ledger, now=2 * DAY)
            await ledger.record(FEED, [], now=NOON + 2 * DAY, checkpoint=Checkpoint(NOON, read_from.floor, None, NOON))
            floor = (await begun(ledger, FEED, Checkpoint())).floor
            assert floor is not None
            assert floor >= NOON

    @looped
    async def test_a_great_number_of_ids_is_forgotten_in_small_steps(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, *(f"e-{number}" for number in range(2500)))
            tokens = await taken(ledger, 5000)
            await ledger.settle([Sent(token, "e") for token in tokens.values()], now=NOON)
            assert await ledger.sweep(now=NOON + 3 * DAY, remember=DAY, keep_payload=HOUR)
            assert (await ledger.audit()).sent > 0
            await forget_all(ledger, now=3 * DAY)
            # A round goes on where the last one ended; what it passed while its payload was held waits for the next.
            await forget_all(ledger, now=4 * DAY)
            assert await ledger.audit() == Books(recorded=2500, forgotten=2500)
