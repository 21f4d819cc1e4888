"""The pages of entries, the activity after a position, and replays by id: part of the contract."""

from datetime import timedelta

import pytest

from forwarder.ledger import Dead, EntryFilter, Ledger, Postponed, Sent, TimeWindow
from forwarder.model import Checkpoint, Feed
from tests.factories import FEED, add_feed, entry
from tests.ledger.contract import DAY, OTHER, SECOND, LedgerContract, OpenLedger, claim_tokens, record_ids
from tests.virtual_clock import NOON


async def ids(ledger: Ledger, matching: EntryFilter, limit: int = 9) -> str:
    page = await ledger.entries(matching, limit)
    return "".join(each.entry.execution_id for each in page.entries)


async def record_at(ledger: Ledger, execution_id: str, after: timedelta, feed: Feed = FEED) -> None:
    await add_feed(ledger, feed, Checkpoint())
    await ledger.record(feed, [entry(execution_id, feed=feed)], now=NOON + after)


class PageContract(LedgerContract):
    async def test_entries_filter_by_each_criterion(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            for number, each in enumerate("abcd"):
                await record_at(ledger, each, number * SECOND, OTHER if each == "c" else FEED)
            token = await claim_tokens(ledger, after=9 * SECOND)
            await ledger.settle([Sent(token["a"], "event-1"), Dead(token["b"], "X", "")], now=NOON)
        async with open_ledger() as ledger:
            found = {
                "all": await ids(ledger, EntryFilter()),
                "pending": await ids(ledger, EntryFilter("pending")),
                "sent": await ids(ledger, EntryFilter("sent")),
                "dead": await ids(ledger, EntryFilter("dead")),
                "workflow": await ids(ledger, EntryFilter(workflow_id=OTHER.workflow_id)),
                "unknown": await ids(ledger, EntryFilter(workflow_id="unknown")),
                "range": await ids(ledger, EntryFilter(recorded_from=NOON + SECOND, recorded_to=NOON + 3 * SECOND)),
                "id": await ids(ledger, EntryFilter(execution_id="b")),
                "id in another state": await ids(ledger, EntryFilter("sent", execution_id="b")),
                "unknown id": await ids(ledger, EntryFilter(execution_id="z")),
                "state and workflow": await ids(ledger, EntryFilter("pending", FEED.workflow_id)),
            }
        assert found == {
            "all": "dcba",
            "pending": "dc",
            "sent": "a",
            "dead": "b",
            "workflow": "c",
            "unknown": "",
            "range": "cb",
            "id": "b",
            "id in another state": "",
            "unknown id": "",
            "state and workflow": "d",
        }

    async def test_pages_have_each_entry_once(self, open_ledger: OpenLedger) -> None:
        """Entries of one moment are ordered by their recording, and new entries do not move a page."""
        async with open_ledger() as ledger:
            await record_ids(ledger, *"abc")
            await record_at(ledger, "d", -SECOND)
            first = await ledger.entries(EntryFilter(), 2)
            await record_at(ledger, "e", SECOND)
            second = await ledger.entries(EntryFilter(), 2, before=first.next)
            pages = [[each.entry.execution_id for each in page.entries] for page in (first, second)]
            assert (pages, second.next) == ([["c", "b"], ["a", "d"]], None)

    @pytest.mark.parametrize("position", ["", "x", "1", "1_2_3_4", "9" * 40 + "_1", "1_2\n"])
    async def test_invalid_position_raises_value_error(self, open_ledger: OpenLedger, position: str) -> None:
        async with open_ledger() as ledger:
            with pytest.raises(ValueError, match="position"):
                await ledger.entries(EntryFilter(), 2, before=position)
            with pytest.raises(ValueError, match="position"):
                await ledger.activity(position, 2)

    async def test_text_of_undecodable_bytes_matches_nothing(self, open_ledger: OpenLedger) -> None:
        """A command line may hold such bytes."""
        bad = "a\udcff"
        async with open_ledger() as ledger:
            await record_ids(ledger, "a", "b")
            await ledger.settle([Dead((await claim_tokens(ledger))["a"], "X", "")], now=NOON)
            for matching in (
                EntryFilter(workflow_id=bad),
                EntryFilter(execution_id=bad),
                EntryFilter("dead", bad, None, None, "a"),
            ):
                assert await ids(ledger, matching) == ""
            window = TimeWindow(NOON - SECOND, NOON + SECOND, bad)
            assert await ledger.dead_letter(bad) is None
            assert (await ledger.replay_counts(window)).available == await ledger.replay(window, now=NOON) == 0
            assert await ledger.retry_dead_letters([bad], now=NOON) == await ledger.purge_dead_letters([bad]) == 0
            assert await ledger.replay_executions([bad], now=NOON) == 0

    async def test_activity_returns_each_change_once(self, open_ledger: OpenLedger) -> None:
        """A clock that is set back does not hide an event, and a page ends at the limit."""
        async with open_ledger() as ledger:
            await record_ids(ledger, "a", "b")
            start = await ledger.last_activity()
            await record_ids(ledger, *"cde")
            token = await claim_tokens(ledger)
            await ledger.settle([Sent(token["a"], "event-1"), Sent(token["b"], "event-2")], now=NOON)
            await ledger.settle([Sent(token["c"], "event-3"), Dead(token["d"], "X", "")], now=NOON - SECOND)
            seen, position = [], start
            for _ in range(3):
                activity = await ledger.activity(position, 2)
                position = activity.position
                seen.append(
                    [
                        [each.entry.execution_id for each in each_kind]
                        for each_kind in (activity.recorded, activity.sent)
                    ]
                )
            assert seen == [[["c", "d"], ["a", "b"]], [["e"], ["c"]], [[], []]]

    async def test_activity_has_an_event_sent_again(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, "a")
            await ledger.settle([Sent((await claim_tokens(ledger))["a"], "event-1")], now=NOON)
            position = await ledger.last_activity()
            assert await ledger.replay_executions(["a"], now=NOON) == 1
            await ledger.settle([Sent((await claim_tokens(ledger))["a"], "event-2")], now=NOON)
            (sent,) = (await ledger.activity(position, 9)).sent
            assert (sent.result, sent.send_number, sent.replay) == ("event-2", 2, True)

    async def test_replay_executions_changes_sent_ones_only(self, open_ledger: OpenLedger) -> None:
        async with open_ledger() as ledger:
            await record_ids(ledger, *"abc")
            token = await claim_tokens(ledger)
            await ledger.settle([Sent(token["a"], "event-1"), Dead(token["b"], "X", "")], now=NOON)
            ledger.release([token["c"]])
            assert await ledger.replay_executions(["a", "b", "c", "unknown"], now=NOON) == 1
            assert await ledger.replay_executions(["a"], now=NOON) == 0, "it is pending"
            assert await ledger.pending_replays() == 1
            counters = await ledger.audit()
            assert (counters.pending, counters.sent, counters.dead) == (2, 0, 1)
            (replayed,) = [each for each in await ledger.claim(9, now=NOON) if each.entry.execution_id == "a"]
            assert replayed.send_number == 2

    async def test_each_replay_has_the_next_send_number(self, open_ledger: OpenLedger) -> None:
        """A replay that is requested twice before it is sent is one send. A restart keeps the number."""
        for expected in (1, 2, 3):
            async with open_ledger() as ledger:
                await record_ids(ledger, "a")
                (claimed,) = await ledger.claim(9, now=NOON)
                assert claimed.send_number == expected
                assert await ledger.replay_executions(["a"], now=NOON) == 0, "it is pending"
            async with open_ledger() as ledger:
                (claimed,) = await ledger.claim(9, now=NOON)
                await ledger.settle([Postponed(claimed.token, "ThrottlingException", NOON)], now=NOON)
                (claimed,) = await ledger.claim(9, now=NOON)
                assert claimed.send_number == expected
                await ledger.settle([Sent(claimed.token, "event")], now=NOON)
                stored = await ledger.stored_entry("a")
                assert stored is not None
                assert (stored.send_number, stored.replay) == (expected, expected > 1)
                assert await ledger.replay(TimeWindow(NOON - DAY, NOON + DAY), now=NOON) == 1
