"""The status page, asked over a socket: what it shows of the ledger, kept fresh, and what is done to dead letters."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from forwarder.ledger import Books, Dead, Ledger, Sent
from forwarder.model import Checkpoint, State
from forwarder.web.board import FRESH
from forwarder.web.pages import FORM_TOKEN
from forwarder.web.sessions import IDLE
from tests.clocks import NOON
from tests.loops import looped
from tests.samples import FEED, begun, entry
from tests.web.visit import Visit, visit

SECOND = timedelta(seconds=1)

HOSTILE = '<script>alert("x")</script> & <b>'


async def lived(ledger: Ledger) -> None:
    """One event was sent, two were refused, and one is owed."""
    await begun(ledger, FEED, Checkpoint())
    error = {"message": HOSTILE, "code": "E<1>", "blockId": "block-7"}
    entries = [entry(each, detail=json.dumps({"executionId": each, "error": error}).encode()) for each in "abcd"]
    await ledger.record(FEED, entries, now=NOON)
    token = {owed.entry.execution_id: owed.token for owed in await ledger.take(9, now=NOON)}
    refused = [Dead(token[each], "MalformedDetail", "no <object>") for each in "bd"]
    await ledger.settle([Sent(token["a"], "event-1"), *refused], now=NOON + SECOND)
    ledger.release([token["c"]])


async def die(at: Visit, execution_id: str) -> None:
    for owed in await at.desk.ledger.take(9, now=at.clock.now()):
        if owed.entry.execution_id == execution_id:
            await at.desk.ledger.settle([Dead(owed.token, "X", "")], now=NOON)
        else:
            at.desk.ledger.release([owed.token])


async def press(at: Visit, **button: str) -> int:
    answer = await at.change("/dead", data={FORM_TOKEN: await at.form_token(), **button})
    return answer.status


@looped
async def test_what_failed_is_shown_as_text_and_nothing_of_it_as_markup(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        await lived(at.desk.ledger)
        await at.log_in()
        for path in ("/", "/event?id=b"):
            text = await (await at.get(path)).text()
            assert "&lt;script&gt;alert" in text
            assert "<script>alert" not in text
            assert "block-7" in text
            assert "no &lt;object&gt;" in text


@looped
async def test_an_event_is_shown_as_it_was_sent_byte_for_byte(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        await lived(at.desk.ledger)
        await at.log_in()
        held = await at.desk.ledger.held("a")
        assert held is not None
        answer = await at.get("/event/detail?id=a")
        assert (answer.content_type, await answer.read()) == ("application/json", held.entry.detail)
        assert (await at.get("/event?id=nobody")).status == 404


@looped
async def test_dead_letters_are_retried_and_purged_one_by_one_or_all(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        ledger = at.desk.ledger
        await lived(ledger)
        await at.log_in()
        assert await press(at, retry="b") == 303
        assert await ledger.audit() == Books(recorded=4, owed=2, sent=1, dead=1)
        assert await press(at, purge="d") == 303
        assert await ledger.audit() == Books(recorded=4, owed=2, sent=1, purged=1)
        await die(at, "b")
        assert await press(at, retry_all="yes") == 303
        assert await ledger.audit() == Books(recorded=4, owed=2, sent=1, purged=1)
        await die(at, "b")
        assert await press(at, purge_all="yes") == 303
        assert await ledger.audit() == Books(recorded=4, owed=1, sent=1, purged=2)
        assert await press(at) == await press(at, retry="b", purge="b") == 400


@looped
async def test_the_page_says_what_is_wrong_and_what_mends_it(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        at.desk.health.report("bus", State.FAILED, "AWS refuses the <keys>", "`forwarder keys set`")
        at.desk.health.report("source", State.DEGRADED, "slow", "")
        await at.log_in()
        text = await (await at.get("/")).text()
        assert "<h1>The event bus needs attention</h1>" in text
        assert "AWS refuses the &lt;keys&gt;" in text
        assert "<code>forwarder keys set</code>" in text


async def event_of(stream: Any) -> dict[str, str]:
    line = await asyncio.wait_for(stream.readuntil(b"\n\n"), 30)
    while line.startswith(b":"):
        line = await asyncio.wait_for(stream.readuntil(b"\n\n"), 30)
    found: dict[str, str] = json.loads(line.removeprefix(b"data: "))
    return found


@looped
async def test_the_stream_tells_all_at_first_and_then_what_changed(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        async with at.browser.get("/status/stream") as stream:
            assert stream.content_type == "text/event-stream"
            assert {"headline", "parts", "numbers", "events", "dead"} <= set(await event_of(stream.content))
            await lived(at.desk.ledger)
            at.clock.advance(FRESH)
            changed = await event_of(stream.content)
            assert "MalformedDetail" in changed["dead"]
            at.desk.stopping.set()


@looped
async def test_a_stream_does_not_keep_a_session_and_ends_with_it(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        for _ in range(4):
            at.clock.advance(IDLE / 3)
            answer = await at.get("/status/stream")
        assert (answer.status, answer.headers["Location"]) == (303, "/login")


@looped
async def test_however_many_look_the_ledger_is_asked_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with visit(tmp_path) as at:
        asked = 0
        books = at.desk.ledger.books

        async def counted() -> Any:
            nonlocal asked
            asked += 1
            return await books()

        monkeypatch.setattr(at.desk.ledger, "books", counted)
        await at.log_in()
        answers = await asyncio.gather(*(at.get("/") for _ in range(20)))
        assert {answer.status for answer in answers} == {200}
        assert asked == 1


@looped
async def test_a_ledger_that_cannot_be_read_leaves_a_page_that_says_so(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        at.desk.health.report("ledger", State.FAILED, "the disk is gone", "look at its disk")
        await at.desk.ledger.__aexit__(None, None, None)  # type: ignore[attr-defined]  # every ledger here has one
        answer = await at.get("/")
        assert answer.status == 200
        assert "The disk is gone" in await answer.text()
