"""The contract of dead letters: listing, retry and purge."""

from collections.abc import Sequence

from forwarder.ledger import Counters, Dead, Ledger, Postponed, Sent, TimeWindow
from tests.factories import entry
from tests.ledger.contract import HOUR, SECOND, LedgerContract, OpenLedger, claim_tokens, record_ids
from tests.virtual_clock import NOON


async def dead_letter_all(ledger: Ledger, ids: Sequence[str]) -> None:
    await record_ids(ledger, *ids)
    tokens = await claim_tokens(ledger)
    await ledger.settle([Dead(tokens[each], "MalformedDetail", "") for each in ids], now=NOON)


class DeadLetterContract(LedgerContract):
    async def test_dead_letter_has_first_and_last_attempts(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, "a")
            for number in range(25):
                (claimed_entry,) = await ledger.claim(1, now=NOON + number * SECOND)
                await ledger.settle([Postponed(claimed_entry.token, f"C{number}", NOON)], now=NOON + number * SECOND)
            (claimed_entry,) = await ledger.claim(1, now=NOON + HOUR)
            await ledger.settle([Dead(claimed_entry.token, "MalformedDetail", "no object")], now=NOON + HOUR)
        async with open_ledger() as ledger:
            (dead_letter,) = await ledger.dead_letters()
            assert dead_letter == await ledger.dead_letter("a")
            assert (dead_letter.entry, dead_letter.code, dead_letter.reason) == (
                entry("a"),
                "MalformedDetail",
                "no object",
            )
            assert (dead_letter.recorded_at, dead_letter.died_at, dead_letter.attempt_count) == (NOON, NOON + HOUR, 26)
            kept = [*(f"C{number}" for number in [*range(10), *range(16, 25)]), "MalformedDetail"]
            assert [attempt.code for attempt in dead_letter.attempts] == kept
            assert (dead_letter.omitted_attempts, dead_letter.attempts[0].at, dead_letter.attempts[-1].at) == (
                6,
                NOON,
                NOON + HOUR,
            )
            assert await ledger.dead_letter("b") is None

    async def test_dead_letter_after_replay_lists_the_acceptance(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, "a")
            tokens = await claim_tokens(ledger)
            await ledger.settle([Postponed(tokens["a"], "ThrottlingException", NOON)], now=NOON)
            await claim_tokens(ledger)
            await ledger.settle([Sent(tokens["a"], "id")], now=NOON + SECOND)
            assert await ledger.replay(TimeWindow(NOON, NOON + HOUR), now=NOON + SECOND) == 1
            (claimed_entry,) = await ledger.claim(1, now=NOON + HOUR)
            await ledger.settle([Dead(claimed_entry.token, "MalformedDetail", "")], now=NOON + HOUR)
            (dead_letter,) = await ledger.dead_letters()
            actual = [(attempt.code, attempt.at) for attempt in dead_letter.attempts]
            assert actual == [
                ("ThrottlingException", NOON), ("Accepted", NOON + SECOND), ("MalformedDetail", NOON + HOUR),
            ]  # fmt: skip
            assert (dead_letter.attempt_count, dead_letter.omitted_attempts) == (3, 0)

    async def test_retry_dead_letters_makes_them_pending(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await dead_letter_all(ledger, "abc")
            assert await ledger.retry_dead_letters(["b", "b", "unknown"], now=NOON + 60 * SECOND) == 1
            assert await claim_tokens(ledger) == {}
            (again,) = await ledger.claim(9, now=NOON + 60 * SECOND)
            assert (again.entry.execution_id, again.unclassified_attempts) == ("b", 0)
            assert await ledger.retry_dead_letters(["b"], now=NOON) == 0
            assert await ledger.retry_dead_letters(None, now=NOON) == 2
            assert await ledger.audit() == Counters(recorded=3, pending=3)

    async def test_retry_dead_letters_keeps_the_send_number(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, "a")
            for expected in (1, 2):
                (claimed,) = await ledger.claim(1, now=NOON)
                await ledger.settle([Dead(claimed.token, "MalformedDetail", "")], now=NOON)
                assert await ledger.retry_dead_letters(None, now=NOON) == 1
                (claimed,) = await ledger.claim(1, now=NOON)
                assert claimed.send_number == expected
                await ledger.settle([Sent(claimed.token, "event")], now=NOON)
                assert await ledger.replay_executions(["a"], now=NOON) == 1

    async def test_purge_dead_letters_keeps_their_ids(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await dead_letter_all(ledger, "abc")
            assert await ledger.purge_dead_letters(["a", "unknown"]) == 1
            assert await ledger.purge_dead_letters(["a"]) == 0
            assert [dead_letter.entry.execution_id for dead_letter in await ledger.dead_letters()] == ["b", "c"]
            assert await ledger.purge_dead_letters(None) == 2
            assert await record_ids(ledger, *"abc") == 0
            assert await ledger.retry_dead_letters(None, now=NOON) == 0
            assert await ledger.audit() == Counters(recorded=3, purged=3)

    async def test_other_process_reads_and_changes_the_ledger(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as daemon, open_ledger() as command:
            await dead_letter_all(daemon, "ab")
            await daemon.beat()
            assert {dead_letter.entry.execution_id for dead_letter in await command.dead_letters()} == {"a", "b"}
            assert await command.retry_dead_letters(["a"], now=NOON) == 1
            assert await command.purge_dead_letters(None) == 1
            await daemon.beat()
            assert list(await claim_tokens(daemon)) == ["a"]
            assert await command.counters() == await daemon.audit() == Counters(recorded=2, pending=1, purged=1)
