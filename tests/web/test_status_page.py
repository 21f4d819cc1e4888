"""The status page over a socket: its view of the ledger, its updates, and the actions on dead letters."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from forwarder.health import NextAttempt
from forwarder.ledger import Counters, DaemonStatus, Dead, Ledger, PollResult, RetentionGap, Sent
from forwarder.ledger.retention_gap import GAP_DISPLAY_TIME
from forwarder.model import Checkpoint, State
from forwarder.web.status_cache import CACHE_SECONDS
from tests.factories import FEED, add_feed, entry
from tests.virtual_clock import NOON
from tests.web.client import WebClient, web_client

SECOND = timedelta(seconds=1)

HOSTILE = '<script>alert("x")</script> & <b>'


async def record_history(ledger: Ledger) -> None:
    """Record four events: one was sent, two were rejected, and one is pending."""
    await add_feed(ledger, FEED, Checkpoint())
    error = {"message": HOSTILE, "code": "E<1>", "blockId": "block-7"}
    entries = [entry(each, detail=json.dumps({"executionId": each, "error": error}).encode()) for each in "abcd"]
    await ledger.record(FEED, entries, now=NOON)
    token = {claimed.entry.execution_id: claimed.token for claimed in await ledger.claim(9, now=NOON)}
    refused = [Dead(token[each], "MalformedDetail", "no <object>") for each in "bd"]
    await ledger.settle([Sent(token["a"], "event-1"), *refused], now=NOON + SECOND)
    ledger.release([token["c"]])


async def dead_letter(client: WebClient, execution_id: str) -> None:
    for claimed in await client.context.ledger.claim(9, now=client.clock.now()):
        if claimed.entry.execution_id == execution_id:
            await client.context.ledger.settle([Dead(claimed.token, "X", "")], now=NOON)
        else:
            client.context.ledger.release([claimed.token])


async def click(client: WebClient, **button: str) -> int:
    response = await client.change("/dead", data=button)
    return response.status


async def test_dead_letter_action_sent_twice_counts_once(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await record_history(client.context.ledger)
        await client.log_in()
        assert [await click(client, retry="b") for _ in range(2)] == [303, 303]
        assert [await click(client, purge="d") for _ in range(2)] == [303, 303]
        assert await client.context.ledger.audit() == Counters(recorded=4, pending=2, sent=1, purged=1)


async def test_period_of_purged_executions_is_displayed(tmp_path: Path) -> None:
    """The page names the period until 30 days after the feeds were read again."""
    async with web_client(tmp_path) as client:
        now = client.clock.now()
        gap = RetentionGap(NOON, ("w <1>",), 3, now, end=NOON + SECOND, read_at=now)
        await client.context.ledger.save_retention_gap(gap)
        await client.log_in()
        text = await (await client.get("/")).text()
        assert "from w &lt;1&gt; and 2 more: the logs API may have purged them" in text
        await client.context.ledger.save_retention_gap(replace(gap, read_at=now - GAP_DISPLAY_TIME))
        client.clock.advance(CACHE_SECONDS + 1)
        assert "may have purged" not in await (await client.get("/")).text()


async def test_page_of_a_ledger_in_a_file_lists_no_processes(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        assert 'id="processes"' not in await (await client.get("/")).text()


async def test_charts_say_that_a_crash_loses_their_last_minute(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        assert "A crash loses the counts of its last minute in these charts." in await (await client.get("/")).text()


async def test_error_text_with_markup_is_escaped(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await record_history(client.context.ledger)
        await client.log_in()
        for path in ("/", "/event?id=b"):
            text = await (await client.get(path)).text()
            assert "&lt;script&gt;alert" in text
            assert "<script>alert" not in text
            assert "block-7" in text
            assert "no &lt;object&gt;" in text


async def test_event_detail_is_served_byte_for_byte(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await record_history(client.context.ledger)
        await client.log_in()
        stored = await client.context.ledger.stored_entry("a")
        assert stored is not None
        response = await client.get("/event/detail?id=a")
        assert (response.content_type, await response.read()) == ("application/json", stored.entry.detail)
        assert (await client.get("/event?id=nobody")).status == 404


async def test_dead_letters_are_retried_and_purged_singly_or_all(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        ledger = client.context.ledger
        await record_history(ledger)
        await client.log_in()
        assert await click(client, retry="b") == 303
        assert await ledger.audit() == Counters(recorded=4, pending=2, sent=1, dead=1)
        assert await click(client, purge="d") == 303
        assert await ledger.audit() == Counters(recorded=4, pending=2, sent=1, purged=1)
        await dead_letter(client, "b")
        assert await click(client, retry_all="yes") == 303
        assert await ledger.audit() == Counters(recorded=4, pending=2, sent=1, purged=1)
        await dead_letter(client, "b")
        assert await click(client, purge_all="yes") == 303
        assert await ledger.audit() == Counters(recorded=4, pending=1, sent=1, purged=2)
        assert await click(client) == await click(client, retry="b", purge="b") == 400


async def test_page_shows_reasons_and_hints(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        client.context.health.report(
            "bus", State.FAILED, "AWS refuses the <keys>", "`forwarder keys set alloy-api-key`"
        )
        client.context.health.report("source", State.DEGRADED, "slow", "")
        await client.log_in()
        text = await (await client.get("/")).text()
        assert "<h1>The event bus needs attention</h1>" in text
        assert "AWS refuses the &lt;keys&gt;" in text
        assert 'Enter it in <a href="/settings#alloy-api-key">' in text


async def test_unreadable_ledger_is_reported_on_the_page(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        client.context.health.report("ledger", State.FAILED, "the disk is gone", "check its disk")
        await client.context.ledger.__aexit__(None, None, None)  # type: ignore[attr-defined]  # SqliteLedger, not the protocol
        response = await client.get("/")
        assert response.status == 200
        assert "The disk is gone" in await response.text()


async def test_dead_letters_are_named_in_the_headline(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await record_history(client.context.ledger)
        await client.log_in()
        text = await (await client.get("/")).text()
        assert "<h1>2 events were rejected by the bus</h1>" in text
        assert "NEEDS ATTENTION" in text
        assert "Reason: MalformedDetail: no &lt;object&gt;." in text
        assert '<a href="/events?state=dead">Show them</a>' in text


async def test_try_now_ends_the_backoff_of_the_named_component(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        client.context.health.report("source", State.FAILED, "the logs API is gone")
        client.context.health.report("bus", State.FAILED, "the bus is gone")
        client.attempts["source"] = NextAttempt(NOON + timedelta(seconds=12))
        client.attempts["bus"] = NextAttempt(NOON + timedelta(hours=1), can_retry_now=False)
        await client.log_in()
        text = await (await client.get("/")).text()
        assert "at 12:00:12 UTC" in text
        assert "at 13:00:00 UTC" in text
        assert re.findall(r'form="retrying" [^>]*value="(\w+)"', text) == ["source"]
        assert (await client.change("/retry-now", data={"component": "source"})).status == 303
        assert client.retried == ["source"]
        assert (await client.change("/retry-now", data={"component": "ledger"})).status == 400
        assert client.retried == ["source"]


async def test_healthy_component_shows_no_next_attempt(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        client.attempts["source"] = NextAttempt(NOON)
        await client.log_in()
        assert "Next attempt" not in await (await client.get("/")).text()


async def test_unknown_address_and_event_are_named_as_such(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        page, event = await client.get("/no-such-page"), await client.get("/event?id=none")
        assert (page.status, event.status) == (404, 404)
        assert "<h1>There is no such page</h1>" in await page.text()
        assert "There is no such event" in await event.text()


async def test_long_reason_is_cut_and_can_be_opened(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        client.context.health.report("bus", State.FAILED, "x" * 161)
        client.context.health.report("source", State.FAILED, "y" * 160)
        await client.log_in()
        text = await (await client.get("/")).text()
        assert re.findall(r'<details class="long [^"]*" id="reason-(\w+)">', text) == ["bus"]
        assert f"X{'x' * 160}" in text


async def test_components_are_sorted_by_severity(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        client.context.health.report("ledger", State.FAILED, "the disk is full")
        client.context.health.report("bus", State.DEGRADED, "slow")
        await client.log_in()
        text = await (await client.get("/")).text()
        names = re.findall(r"<h3>(Logs API|Event bus|Ledger|Settings)</h3>", text)
        assert names == ["Ledger", "Event bus", "Settings", "Logs API"]


async def test_feed_table_has_absolute_times_and_cut_errors(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        ledger = client.context.ledger
        await add_feed(ledger, FEED, Checkpoint())
        await ledger.save_watched([FEED])
        await ledger.save_daemon_status(DaemonStatus(NOON, 1, {}), {FEED: PollResult(NOON, "x" * 161)})
        await client.log_in()
        text = await (await client.get("/")).text()
        assert '<time datetime="2026-11-02T12:00:00Z" data-local="minute">02 Nov 2026, 12:00 UTC</time>' in text
        assert f'<details class="long small fault" id="poll-{FEED.workflow_id}-">' in text
        assert "`forwarder" not in text


async def test_feed_table_has_the_interval_and_its_reason(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        ledger = client.context.ledger
        await add_feed(ledger, FEED, Checkpoint())
        await ledger.save_watched([FEED])
        poll = PollResult(NOON, interval_seconds=97.98, reason="failure rate")
        await ledger.save_daemon_status(DaemonStatus(NOON, 1, {}), {FEED: poll})
        await client.log_in()
        text = await (await client.get("/")).text()
        assert '<td>every 98 s <span class="muted small">failure rate</span></td>' in text
