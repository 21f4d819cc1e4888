"""What every kind of ledger must do with the dead: tell of them, owe them again, and let go of them."""

from collections.abc import Sequence

from forwarder.ledger import Books, Dead, Ledger, Postponed, Sent, Window
from tests.clocks import NOON
from tests.ledger.contract import HOUR, SECOND, LedgerContract, Open, owe, taken
from tests.loops import looped
from tests.samples import entry


async def bury(ledger: Ledger, ids: Sequence[str]) -> None:
    await owe(ledger, *ids)
    tokens = await taken(ledger)
    await ledger.settle([Dead(tokens[each], "MalformedDetail", "") for each in ids], now=NOON)


class DyingContract(LedgerContract):
    @looped
    async def test_a_dead_letter_tells_its_story(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, "a")
            for number in range(25):
                (owed,) = await ledger.take(1, now=NOON + number * SECOND)
                await ledger.settle([Postponed(owed.token, f"C{number}", NOON)], now=NOON + number * SECOND)
            (owed,) = await ledger.take(1, now=NOON + HOUR)
            await ledger.settle([Dead(owed.token, "MalformedDetail", "no object")], now=NOON + HOUR)
        async with opened() as ledger:
            (letter,) = await ledger.dead_letters()
            assert letter == await ledger.dead_letter("a")
            assert (letter.entry, letter.code, letter.reason) == (entry("a"), "MalformedDetail", "no object")
            assert (letter.recorded_at, letter.died_at, letter.attempted) == (NOON, NOON + HOUR, 26)
            kept = [*(f"C{number}" for number in [*range(10), *range(16, 25)]), "MalformedDetail"]
            assert [attempt.code for attempt in letter.attempts] == kept
            assert (letter.left_out, letter.attempts[0].at, letter.attempts[-1].at) == (6, NOON, NOON + HOUR)
            assert await ledger.dead_letter("b") is None

    @looped
    async def test_a_dead_letter_that_was_accepted_before_tells_of_that_too(self, opened: Open) -> None:
        async with opened() as ledger:
            await owe(ledger, "a")
            tokens = await taken(ledger)
            await ledger.settle([Postponed(tokens["a"], "ThrottlingException", NOON)], now=NOON)
            await taken(ledger)
            await ledger.settle([Sent(tokens["a"], "id")], now=NOON + SECOND)
            assert await ledger.replay(Window(NOON, NOON + HOUR), now=NOON + SECOND) == 1
            await ledger.take(1, now=NOON + HOUR)
            await ledger.settle([Dead(tokens["a"], "MalformedDetail", "")], now=NOON + HOUR)
            (letter,) = await ledger.dead_letters()
            told = [(attempt.code, attempt.at) for attempt in letter.attempts]
            assert told == [
                ("ThrottlingException", NOON), ("Accepted", NOON + SECOND), ("MalformedDetail", NOON + HOUR),
            ]  # fmt: skip
            assert (letter.attempted, letter.left_out) == (3, 0)

    @looped
    async def test_the_dead_are_owed_again_on_request(self, opened: Open) -> None:
        async with opened() as ledger:
            await bury(ledger, "abc")
            assert await ledger.retry_dead(["b", "b", "unknown"], now=NOON + 60 * SECOND) == 1
            assert await taken(ledger) == {}
            (again,) = await ledger.take(9, now=NOON + 60 * SECOND)
            assert (again.entry.execution_id, again.strikes) == ("b", 0)
            assert await ledger.retry_dead(["b"], now=NOON) == 0
            assert await ledger.retry_dead(None, now=NOON) == 2
            assert await ledger.audit() == Books(recorded=3, owed=3)

    @looped
    async def test_the_purged_are_gone_but_for_their_ids(self, opened: Open) -> None:
        async with opened() as ledger:
            await bury(ledger, "abc")
            assert await ledger.purge_dead(["a", "unknown"]) == 1
            assert await ledger.purge_dead(["a"]) == 0
            assert [letter.entry.execution_id for letter in await ledger.dead_letters()] == ["b", "c"]
            assert await ledger.purge_dead(None) == 2
            assert await owe(ledger, *"abc") == 0
            assert await ledger.retry_dead(None, now=NOON) == 0
            assert await ledger.audit() == Books(recorded=3, purged=3)

    @looped
    async def test_another_process_sees_and_changes_the_same_ledger(self, opened: Open) -> None:
        async with opened() as daemon, opened() as verb:
            await bury(daemon, "ab")
            assert {letter.entry.execution_id for letter in await verb.dead_letters()} == {"a", "b"}
            assert await verb.retry_dead(["a"], now=NOON) == 1
            assert await verb.purge_dead(None) == 1
            assert list(await taken(daemon)) == ["a"]
            assert await verb.books() == await daemon.audit() == Books(recorded=2, owed=1, purged=1)
