"""The list of events over a socket: its filters, groups and pages."""

import re
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest
from structlog.testing import capture_logs

from forwarder.ledger import Counters, EntryPage
from forwarder.model import Checkpoint, Feed
from tests.factories import FEED, add_feed, entry
from tests.reality.test_web_forms import raw_status
from tests.virtual_clock import NOON
from tests.web.client import web_client
from tests.web.event_history import (
    HOSTILE,
    MINUTE,
    detail,
    listed,
    load,
    next_page,
    pressed,
    record_dead,
    record_history,
)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", ["d-4", "c-3", "b-2", "a-1"]),
        ("state=dead", ["d-4", "b-2"]),
        ("state=sent", ["a-1"]),
        (f"workflow={FEED.workflow_id}&state=pending", ["c-3"]),
        ("workflow=unknown", []),
        ("id=b-2", ["b-2"]),
        ("id=b-2&state=sent", []),
        ("text=TIMEOUT", ["d-4", "c-3", "b-2"]),
        ("text=malformeddetail", ["d-4", "b-2"]),
        ("from=2200-01-01T00:00:00Z", []),
        ("to=2200-01-01T00:00", ["d-4", "c-3", "b-2", "a-1"]),
        (urlencode({"from": (NOON + MINUTE).isoformat(), "to": (NOON + 3 * MINUTE).isoformat()}), ["c-3", "b-2"]),
        (f"from={NOON + 2 * MINUTE:%Y-%m-%dT%H:%M}", ["d-4", "c-3"]),
        ("state=&workflow=&from=&to=&id=&text=&before=", ["d-4", "c-3", "b-2", "a-1"]),
    ],
)
async def test_filter_lists_its_matches_newest_first(tmp_path: Path, query: str, ids: list[str]) -> None:
    async with web_client(tmp_path) as client:
        await record_history(client)
        assert await listed(client, query) == ids


@pytest.mark.parametrize(("query", "text"), [("workflow=w", "matches"), ("", "is stored"), ("before=x", "is stored")])
async def test_part_without_a_match_links_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, text: str
) -> None:
    """A shared ledger reads a part of a long list at a time, and none of its events may match."""

    async def no_entries(*_: object, **__: object) -> EntryPage:
        return EntryPage([], "position")

    async with web_client(tmp_path) as client:
        await client.log_in()
        monkeypatch.setattr(client.context.ledger, "entries", no_entries)
        page = await load(client, query)
        assert f"None of the events in this part of the list {text}." in page
        assert "before=position" in await next_page(client, query)
        assert "There are no earlier events" not in page


@pytest.mark.parametrize(
    ("query", "number"),
    [("", "4 events"), ("id=a-1", "1 event"), ("text=timeout", "3 events"), ("state=dead", "2 events")],
)
async def test_number_of_matches_is_shown(tmp_path: Path, query: str, number: str) -> None:
    async with web_client(tmp_path) as client:
        await record_history(client)
        assert re.search(rf'<h2 id="results">{number}\s*</h2>', await load(client, query))


async def test_empty_list_says_why(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        assert "Nothing has failed yet." in await load(client, "")
        for query, text in (
            ("text=x", "No event matches."),
            ("state=dead", "There is no dead letter."),
            ("state=dead&id=x", "There is no dead letter that matches."),
        ):
            assert f'{text} <a href="/events">Show all events</a>' in await load(client, query)


async def test_filter_is_kept_in_the_form(tmp_path: Path) -> None:
    """A time with a zone becomes one in UTC, which the labels name."""
    async with web_client(tmp_path) as client:
        await client.log_in()
        values = {"state": "sent", "workflow": '"><b>', "from": "2026-11-20T01:00:00+01:00", "text": "30 %"}
        page = await load(client, urlencode(values))
        assert '<option value="sent" selected>' in page
        assert 'name="workflow" value="&#34;&gt;&lt;b&gt;"' in page
        assert 'name="from" value="2026-11-20T00:00:00"' in page
        assert 'name="text" value="30 %"' in page
        assert "Found from, UTC" in page


async def test_markup_in_messages_and_filters_is_escaped(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await record_history(client)
        for fields in ({}, {"group": "message"}, {"text": HOSTILE}, {"id": HOSTILE, "workflow": '"><script>'}):
            page = await load(client, urlencode(fields))
            assert "<script>" not in page
            assert '"><script' not in page


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("from=yesterday", "is not a time"),
        ("to=9999-12-31T23:59:59-23:00", "is not a time"),
        ("from=0001-01-01T00:00", "is not a time"),
        ("from=2026-11-20T00:00&to=2026-11-20T00:00", "is not after the start"),
        ("state=lost", "is not a state"),
        (f"id={'x' * 2000}", "is too long for an ID"),
        (f"workflow={'%E2%82%AC' * 600}", "is too long for an ID"),
        (f"text={'x' * 201}", "is longer than 200 characters"),
        ("group=%3Cscript%3E", "is not message"),
    ],
)
async def test_invalid_field_is_named_beside_it(tmp_path: Path, query: str, fault: str) -> None:
    """Nothing is searched then, and the response has the status 400."""
    async with web_client(tmp_path) as client:
        await record_history(client)
        response = await client.get(f"/events?{query}")
        page = await response.text()
        assert response.status == 400
        assert fault in page
        assert 'role="alert"' in page
        assert "/event?id=" not in page


@pytest.mark.parametrize(
    "query",
    [
        *("text=%00", "text=%1b[31m", "text=%7f", "state=sent&state=dead", "text=a%0d%0ab"),
        *("before=x", "before=1_2_3", "before=%2d", "text=a&before=" + "x" * 1100, "before=" + "9" * 400 + "_1"),
    ],
)
async def test_malformed_query_is_a_bad_request(tmp_path: Path, query: str) -> None:
    async with web_client(tmp_path) as client:
        await record_history(client)
        with capture_logs() as log:
            assert await raw_status(client, f"GET /events?{query} HTTP/1.1") == 400
        assert not [line for line in log if line["event"] == "request failed"]


@pytest.mark.parametrize("query", ["id=%ff", "workflow=%ed%a0%80", "text=%", "text=%zz", "text=%25zz", "x=%ff&text=zz"])
async def test_bytes_that_are_no_text_match_nothing(tmp_path: Path, query: str) -> None:
    async with web_client(tmp_path) as client:
        await record_history(client)
        assert await raw_status(client, f"GET /events?{query} HTTP/1.1") == 200
        assert await listed(client, query.replace("%25", "%")) == []


async def test_groups_are_counted_and_lead_to_their_events(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await record_history(client)
        page = await load(client, "group=message&state=dead")
        assert re.findall(r'class="message">([^<]*)<', page) == ["Timeout of 30 s"]
        assert '<span class="group-count">2<' in page
        (link,) = re.findall(r'class="event" href="/events\?([^"]*)"', page)
        assert await listed(client, unescape(link)) == ["d-4", "b-2"]


@pytest.mark.parametrize("message", ["\x00\x1b[31mred\r\n", "", "\u202e" * 300, HOSTILE * 99, "a\nlonger line of it"])
async def test_group_of_a_hostile_message_has_a_valid_link(tmp_path: Path, message: str) -> None:
    async with web_client(tmp_path) as client:
        await add_feed(client.context.ledger, FEED, Checkpoint())
        await client.context.ledger.record(FEED, [entry("e", detail=detail("e", message))], now=NOON)
        await client.log_in()
        (link,) = re.findall(r'class="event" href="([^"]*)"', await load(client, "group=message"))
        response = await client.get(unescape(link))
        assert response.status == 200
        assert "id=e" in str(response.url) or 'href="/event?id=e"' in await response.text()


async def test_group_of_dead_letters_is_purged_as_shown(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await record_history(client)
        form = pressed(await load(client, "state=dead&group=message"), "purge_matching")
        answer = await client.change("/events/dead", data=form)
        assert answer.headers["Location"] == "/events?state=dead&group=message&purged=2"
        assert await client.context.ledger.audit() == Counters(recorded=4, pending=1, sent=1, purged=2)


async def test_long_reason_of_a_dead_letter_is_clamped(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await record_dead(client, "x-1", reason="refused because " * 20)
        await record_dead(client, "x-2", reason="refused")
        await client.log_in()
        page = await load(client, "state=dead")
        assert re.findall(r'<details class="long small" id="reason-([^"]*)">', page) == ["x-1"]


@pytest.mark.parametrize("query", ["", "text=e-"])
async def test_next_page_continues_while_events_arrive(tmp_path: Path, query: str) -> None:
    async with web_client(tmp_path) as client:
        ledger, ids = client.context.ledger, [f"e-{number}" for number in range(120)]
        await add_feed(ledger, FEED, Checkpoint())
        await ledger.record(FEED, [entry(each) for each in ids], now=NOON)
        await client.log_in()
        found, page = await listed(client, query), await next_page(client, query)
        await ledger.record(FEED, [entry("e-new")], now=NOON + MINUTE)
        found += await listed(client, page)
        found += await listed(client, await next_page(client, page))
        assert found == ids[::-1]
        assert "First page" in await load(client, page)


async def test_status_page_leads_to_the_list(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await record_history(client)
        page = await (await client.get("/")).text()
        assert 'href="/events?state=dead"' in page
        assert '<a href="/events">Show all events</a>' in page


async def test_group_names_the_number_of_other_workflows(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        ledger = client.context.ledger
        for number, feed in enumerate((Feed("w-1"), Feed("w-2"), Feed("w-3"))):
            await add_feed(ledger, feed, Checkpoint())
            await ledger.record(feed, [entry(f"e-{number}", feed=feed)], now=NOON + number * MINUTE)
        await client.log_in()
        assert "w-3 and 2 more" in await load(client, "group=message")
