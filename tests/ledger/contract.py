"""The contract of every ledger store. The test module of a store inherits it and defines where its ledger is kept."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias

import pytest

from forwarder.ledger import (
    Counters,
    DaemonStatus,
    Dead,
    Ledger,
    PollResult,
    Postponed,
    RetentionGap,
    Sent,
    Settlement,
    shard_of,
)
from forwarder.model import Checkpoint, Feed, FeedActivity, Token
from tests.factories import FEED, add_feed, entry
from tests.virtual_clock import NOON

OpenLedger: TypeAlias = Callable[[], AbstractAsyncContextManager[Ledger]]

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
OTHER = Feed("w-2", "u-1")
BUS, ANOTHER_BUS = "eu-west-1/failures", "eu-west-1/another"


async def record_ids(ledger: Ledger, *ids: str, feed: Feed = FEED) -> int:
    await add_feed(ledger, feed, Checkpoint())
    return await ledger.record(feed, [entry(execution_id, feed=feed) for execution_id in ids], now=NOON)


async def claim_tokens(ledger: Ledger, limit: int = 100, after: timedelta = timedelta()) -> dict[str, Token]:
    """Claim entries, and return their tokens by id, in the order of the claim."""
    return {
        claimed_entry.entry.execution_id: claimed_entry.token
        for claimed_entry in await ledger.claim(limit, now=NOON + after)
    }


async def apply_all_retention(
    ledger: Ledger, *, now: timedelta, id_retention: timedelta = DAY, payload_retention: timedelta = HOUR
) -> None:
    while await ledger.apply_retention(now=NOON + now, id_retention=id_retention, payload_retention=payload_retention):
        pass


class LedgerContract(ABC):
    """The contract. Each `open_ledger()` stands for a process that opens the one ledger of the test."""

    @abstractmethod
    def opener(self) -> AbstractContextManager[OpenLedger]: ...

    @pytest.fixture
    def open_ledger(self) -> Iterator[OpenLedger]:
        with self.opener() as open_ledger:
            yield open_ledger

    async def test_add_feeds_keeps_existing_checkpoints(self, open_ledger: OpenLedger) -> None:
        activity = FeedActivity(NOON - DAY, NOON, 12.5, 3.25, 1.5)
        initial = Checkpoint(NOON, NOON - HOUR, NOON - DAY, NOON + HOUR, {"e-9": NOON, "🫖\x00": NOON - DAY}, activity)
        async with open_ledger() as ledger:
            assert await add_feed(ledger, FEED, initial) == initial
            assert await add_feed(ledger, Feed(FEED.workflow_id, "u"), Checkpoint()) == Checkpoint()
        async with open_ledger() as ledger:
            assert await add_feed(ledger, FEED, Checkpoint()) == initial

    async def test_save_watched_marks_other_feeds_as_not_watched(self, open_ledger: OpenLedger) -> None:
        checkpoint = Checkpoint(NOON)
        async with open_ledger() as ledger:
            for feed in (FEED, OTHER):
                await add_feed(ledger, feed, checkpoint)
            assert [each.watched for each in await ledger.feeds()] == [True, True]
            await ledger.save_watched([OTHER, Feed("never-added")])
        async with open_ledger() as ledger:
            assert {each.feed: each.watched for each in await ledger.feeds()} == {FEED: False, OTHER: True}
            assert await ledger.checkpoint(FEED) == checkpoint
            await ledger.save_watched([FEED])
            assert {each.feed: each.watched for each in await ledger.feeds()} == {FEED: True, OTHER: False}

    async def test_save_watched_leaves_the_feeds_of_other_shards(self, open_ledger: OpenLedger) -> None:
        users = [Feed("w", f"u-{number}") for number in range(20)]
        shards = {shard_of(feed.user_id) for feed in users[:10]}
        async with open_ledger() as ledger:
            await ledger.add_feeds({feed: Checkpoint() for feed in users})
            await ledger.save_watched([users[0], users[19]], shards)
            expected = {feed for feed in users if shard_of(feed.user_id) not in shards} | {users[0], users[19]}
            assert {each.feed for each in await ledger.feeds() if each.watched} == expected
            await ledger.save_watched([])
            await ledger.save_watched([users[3], users[12]], ())
            assert {each.feed for each in await ledger.feeds() if each.watched} == {users[3], users[12]}

    async def test_record_id_twice_adds_it_once(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            assert await record_ids(ledger, "a", "b", "a") == 2
            assert await record_ids(ledger, "b", "c", feed=OTHER) == 1
            assert await ledger.known_ids(["a", "c", "d"]) == {"a", "c"}
            assert await ledger.known_ids([]) == set()
        async with open_ledger() as ledger:
            assert await record_ids(ledger, "a", "b", "c") == 0
            assert (await ledger.audit()).recorded == 3
            assert [await ledger.find_feed(each) for each in "abcd"] == [FEED, FEED, OTHER, None]

    @pytest.mark.parametrize("execution_id", ["a/b c", "🫖" * 256, "\x00", "'; DROP TABLE executions --", "A", "1"])
    async def test_record_unusual_id_keeps_it_unchanged(self, open_ledger: OpenLedger, execution_id: str) -> None:
        async with open_ledger() as ledger:
            assert await record_ids(ledger, execution_id, "a", execution_id.strip("A") + "x") == 3
            assert next(iter(await claim_tokens(ledger))) == execution_id
            assert await ledger.known_ids([execution_id]) == {execution_id}

    async def test_claim_returns_the_recorded_entry(self, open_ledger: OpenLedger) -> None:
        recorded = entry(
            "a", feed=OTHER, time=NOON - timedelta(microseconds=1), detail=b'{"a":"' + b"x" * 300_000 + b'"}'
        )
        async with open_ledger() as ledger:
            await add_feed(ledger, OTHER, Checkpoint())
            await ledger.record(OTHER, [recorded], now=NOON)
        async with open_ledger() as ledger:
            (claimed,) = await ledger.claim(1, now=NOON)
            assert (claimed.entry, claimed.attempts, claimed.unclassified_attempts, claimed.send_number) == (
                recorded,
                0,
                0,
                1,
            )
            assert not claimed.replay

    async def test_record_saves_checkpoint_with_its_entries(self, open_ledger: OpenLedger) -> None:
        advanced = Checkpoint(NOON, NOON, None, NOON, {"open": NOON}, FeedActivity(NOON, NOON, 1.0, 1.0, 1.0))
        async with open_ledger() as ledger:
            await add_feed(ledger, FEED, Checkpoint())
            await ledger.record(FEED, [entry("a")], now=NOON, checkpoint=advanced)
            await ledger.record(FEED, [entry("b")], now=NOON)
        async with open_ledger() as ledger:
            assert await add_feed(ledger, FEED, Checkpoint()) == advanced
            assert await ledger.known_ids(["a", "b"]) == {"a", "b"}

    async def test_claim_skips_entries_claimed_before(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, *"abcde")
            first = await claim_tokens(ledger, 2)
            second = await claim_tokens(ledger, 2)
            assert (list(first), list(second)) == (["a", "b"], ["c", "d"])
            ledger.release([first["b"]])
            assert list(await claim_tokens(ledger)) == ["b", "e"]
            assert await claim_tokens(ledger) == {}
            assert await ledger.next_due() is None
            await ledger.settle([Postponed(second["c"], "ThrottlingException", NOON)], now=NOON)
            assert list(await claim_tokens(ledger)) == ["c"]

    async def test_claim_is_lost_with_its_process(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, "a", "b")
            await claim_tokens(ledger)
        async with open_ledger() as ledger:
            assert list(await claim_tokens(ledger)) == ["a", "b"]

    async def test_claim_postponed_entry_when_due(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, "a", "b")
            tokens = await claim_tokens(ledger)
            await ledger.settle([Postponed(tokens["a"], "X", NOON + 60 * SECOND, unclassified_attempt=True)], now=NOON)
            await ledger.settle([Postponed(tokens["b"], "Y", NOON + SECOND)], now=NOON)
            assert await ledger.next_due() == NOON + SECOND
            assert await claim_tokens(ledger) == {}
            assert list(await claim_tokens(ledger, after=SECOND)) == ["b"]
            assert await ledger.next_due() == NOON + 60 * SECOND
            (retried,) = await ledger.claim(9, now=NOON + 60 * SECOND)
            assert (retried.entry.execution_id, retried.attempts, retried.unclassified_attempts) == ("a", 1, 1)

    async def test_claim_after_clock_set_back_returns_entries(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, "a")
            (claimed_entry,) = await ledger.claim(9, now=NOON - HOUR)
            assert claimed_entry.entry.execution_id == "a"

    async def test_settle_twice_counts_once(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, *"abcd")
            token = await claim_tokens(ledger)
            outcomes: list[Settlement] = [
                Sent(token["a"], "event-1"),
                Dead(token["b"], "MalformedDetail", "why"),
                Postponed(token["c"], "X", NOON),
            ]
            for _ in range(2):
                await ledger.settle(outcomes, now=NOON)
                assert await ledger.audit() == Counters(recorded=4, pending=2, sent=1, dead=1)
            await ledger.settle([Dead(token["a"], "X", ""), Sent(token["b"], "event-2")], now=NOON)
            await ledger.settle([Postponed(token["a"], "X", NOON), Postponed(token["b"], "X", NOON)], now=NOON)
            await ledger.settle([], now=NOON)
            assert await ledger.audit() == Counters(recorded=4, pending=2, sent=1, dead=1)
            assert set(await claim_tokens(ledger)) == {"c"}

    async def test_oldest_pending_follows_settlements(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            assert await ledger.oldest_pending() is None
            await record_ids(ledger, "a")
            await ledger.record(FEED, [entry("b")], now=NOON + HOUR)
            assert await ledger.oldest_pending() == NOON
            await ledger.settle([Sent((await claim_tokens(ledger))["a"], "e")], now=NOON)
            assert await ledger.oldest_pending() == NOON + HOUR

    async def test_retention_gap_survives_its_process(self, open_ledger: OpenLedger) -> None:
        gap = RetentionGap(NOON - DAY, ("w", "w-2 (user u-1)"), 2, NOON)
        async with open_ledger() as ledger:
            assert await ledger.retention_gap() is None
            await ledger.save_retention_gap(gap)
        ended = replace(gap, end=NOON, read_at=NOON + HOUR)
        async with open_ledger() as ledger:
            assert await ledger.retention_gap() == gap
            await ledger.save_retention_gap(ended)
            assert await ledger.retention_gap() == ended

    async def test_daemon_status_is_visible_to_other_processes(self, open_ledger: OpenLedger) -> None:
        daemon_status = DaemonStatus(NOON, 4711, {"bus": {"state": "HEALTHY", "reason": ""}})
        async with open_ledger() as ledger:
            assert await ledger.daemon_status() is None
            await add_feed(ledger, FEED, Checkpoint())
            await ledger.beat()
            await ledger.checkpoint(FEED)
            await ledger.save_daemon_status(
                daemon_status,
                {FEED: PollResult(NOON, "cut short", 20.5, "failure rate"), Feed("unknown"): PollResult(NOON)},
            )
        async with open_ledger() as command:
            assert await command.daemon_status() == daemon_status
            (status,) = await command.feeds()
            assert (status.feed, status.checkpoint, status.last_poll) == (
                FEED,
                Checkpoint(),
                PollResult(NOON, "cut short", 20.5, "failure rate"),
            )
