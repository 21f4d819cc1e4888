"""The search in a ledger on the disk: by text, up to its limits, and grouped by message."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec
import pytest

from forwarder.event_search import MAX_FOUND_BYTES, MAX_SEARCHED_ENTRIES, group_by_message, search
from forwarder.ledger import Dead, EntryFilter, Ledger, SqliteLedger
from forwarder.model import Checkpoint, Feed
from tests.factories import FEED, add_feed, entry
from tests.ledger.contract import OTHER, claim_tokens
from tests.virtual_clock import NOON


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        yield ledger


async def record_errors(ledger: Ledger, errors: Mapping[str, Mapping[str, str]], feed: Feed = FEED) -> None:
    await add_feed(ledger, feed, Checkpoint())
    details = {each: msgspec.json.encode({"error": error}) for each, error in errors.items()}
    await ledger.record(feed, [entry(each, feed=feed, detail=detail) for each, detail in details.items()], now=NOON)


async def found(ledger: Ledger, text: str, matching: EntryFilter = EntryFilter()) -> list[str]:  # noqa: B008  # it is frozen
    return [each.entry.execution_id for each in (await search(ledger, matching, text)).entries]


async def test_search_finds_a_text_in_each_field(ledger: Ledger) -> None:
    errors = {
        "e-message": {"message": "Request FAILED: straße"},
        "e-code": {"code": "ECONNRESET"},
        "e-block": {"blockId": "blk-7"},
        "e-dead": {},
    }
    await record_errors(ledger, errors)
    await record_errors(ledger, {"e-other": {"message": "%_\\"}}, OTHER)
    token = await claim_tokens(ledger)
    await ledger.settle([Dead(token["e-dead"], "MalformedDetail", "no object")], now=NOON)
    expected = {
        "request failed": ["e-message"],
        "STRASSE": ["e-message"],
        "econnreset": ["e-code"],
        "BLK-7": ["e-block"],
        "E-BLOCK": ["e-block"],
        OTHER.workflow_id: ["e-other"],
        str(OTHER.user_id): ["e-other"],
        "malformed": ["e-dead"],
        "no object": ["e-dead"],
        "%_\\": ["e-other"],
        "absent": [],
        "  ": ["e-other", "e-dead", "e-block", "e-code", "e-message"],
    }
    assert {text: await found(ledger, text) for text in expected} == expected
    assert await found(ledger, "e-", EntryFilter("dead")) == ["e-dead"]


async def test_search_reports_that_older_matches_are_left(ledger: Ledger) -> None:
    await record_errors(ledger, {f"e-{number}": {} for number in range(MAX_SEARCHED_ENTRIES)})
    result = await search(ledger, EntryFilter())
    assert (len(result.entries), result.is_truncated) == (MAX_SEARCHED_ENTRIES, False)
    await record_errors(ledger, {"new": {}})
    result = await search(ledger, EntryFilter())
    assert (len(result.entries), result.is_truncated) == (MAX_SEARCHED_ENTRIES, True)
    assert result.entries[0].entry.execution_id == "new"
    assert not (await search(ledger, EntryFilter(), "e-0")).entries


async def test_search_of_large_events_holds_few_of_them(ledger: Ledger) -> None:
    large = "x" * (MAX_FOUND_BYTES // 60)
    await record_errors(ledger, {f"e-{number}": {"message": large} for number in range(150)})
    result = await search(ledger, EntryFilter())
    assert (len(result.entries), result.is_truncated) == (100, True)
    result = await search(ledger, EntryFilter(), "e-149")
    assert (len(result.entries), result.is_truncated) == (1, False)


async def test_groups_are_largest_first_and_then_newest(ledger: Ledger) -> None:
    messages = {"a": "one", "b": "two", "c": "three", "d": "two", "e": ""}
    await record_errors(ledger, {each: {"message": message} for each, message in messages.items()})
    groups = group_by_message((await search(ledger, EntryFilter())).entries)
    actual = [(group.message, [each.entry.execution_id for each in group.entries]) for group in groups]
    assert actual == [("two", ["d", "b"]), ("", ["e"]), ("three", ["c"]), ("one", ["a"])]
