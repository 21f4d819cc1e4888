"""The stream of the status page: changes, contact and sessions."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from forwarder.ledger import Fleet, FleetMember
from forwarder.model import State
from forwarder.web.rendering import template_renderer
from forwarder.web.sessions import MAX_IDLE_SECONDS
from forwarder.web.status_cache import CACHE_SECONDS, SECTIONS, StatusCache
from forwarder.web.status_page import CONTACT_SECONDS
from forwarder.web.status_snapshot import MAX_LIST_AGE
from tests.web.client import web_client
from tests.web.event_history import record_history

SECOND = timedelta(seconds=1)

HOSTILE = '<script>alert("x")</script> & <b>'


async def event_of(stream: Any) -> dict[str, str]:
    line = await asyncio.wait_for(stream.readuntil(b"\n\n"), 30)
    while line.startswith(b"event: contact"):
        line = await asyncio.wait_for(stream.readuntil(b"\n\n"), 30)
    found: dict[str, str] = json.loads(line.removeprefix(b"data: "))
    return found


async def test_stream_sends_all_sections_then_changes(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        async with client.browser.get("/status/stream") as stream:
            assert stream.content_type == "text/event-stream"
            assert stream.headers["X-Accel-Buffering"] == "no"
            assert {"headline", "components", "counters", "events", "dead"} <= set(await event_of(stream.content))
            await record_history(client)
            client.clock.advance(CACHE_SECONDS)
            changed = await event_of(stream.content)
            assert "MalformedDetail" in changed["dead"]
            client.context.stopping.set()


async def test_stream_without_changes_sends_contact_events(tmp_path: Path) -> None:
    """A page shows that it has no contact if none of these events arrives."""
    async with web_client(tmp_path) as client:
        await client.log_in()
        async with client.browser.get("/status/stream") as stream:
            await event_of(stream.content)
            for _ in range(3):
                sent = await asyncio.wait_for(stream.content.readuntil(b"\n\n"), 30)
                assert sent == b"event: contact\ndata: %d\n\n" % (client.clock.now().timestamp() * 1000)
                client.clock.advance(CONTACT_SECONDS)
            client.context.stopping.set()


async def test_sections_are_returned_to_a_page_without_a_stream(tmp_path: Path) -> None:
    """A proxy may hold back the events of a stream, also to compress them."""
    async with web_client(tmp_path) as client:
        await client.log_in()
        async with client.browser.get("/status/stream") as stream:
            assert "no-transform" in stream.headers["Cache-Control"]
            first = await event_of(stream.content)
            client.context.stopping.set()
        response = await client.get("/status/sections")
        assert response.content_type == "application/json"
        assert (await response.json()).keys() == first.keys()


PATHS = [("/status/contact", 204), ("/status/headline", 200), ("/status/sections", 200)]


@pytest.mark.parametrize(("path", "status"), PATHS)
async def test_requests_of_an_idle_page_do_not_keep_a_session_alive(tmp_path: Path, path: str, status: int) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        for _ in range(2):
            client.clock.advance(MAX_IDLE_SECONDS / 3)
            assert (await client.get(path)).status == status
        client.clock.advance(MAX_IDLE_SECONDS / 3)
        assert (await client.get(path)).status == 303


async def test_stream_requests_do_not_keep_a_session_alive(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        for _ in range(4):
            client.clock.advance(MAX_IDLE_SECONDS / 3)
            response = await client.get("/status/stream")
        assert (response.status, response.headers["Location"]) == (303, "/login")


async def test_ledger_is_read_once_a_second_for_all_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with web_client(tmp_path) as client:
        queries = 0
        count_queries = client.context.ledger.counters

        async def counted() -> Any:
            nonlocal queries
            queries += 1
            return await count_queries()

        monkeypatch.setattr(client.context.ledger, "counters", counted)
        await client.log_in()
        responses = await asyncio.gather(*(client.get("/") for _ in range(20)))
        assert {response.status for response in responses} == {200}
        assert queries == 1


async def test_events_of_a_shared_ledger_are_read_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reading costs requests to the table. A state that no counter shows is displayed within a minute."""
    async with web_client(tmp_path) as client:
        ledger, readings = client.context.ledger, 0
        entries = ledger.entries

        async def counted(*arguments: Any) -> Any:
            nonlocal readings
            readings += 1
            return await entries(*arguments)

        async def members() -> Fleet:
            return Fleet((FleetMember("a1", "host"),), "a1")

        monkeypatch.setattr(ledger, "entries", counted)
        monkeypatch.setattr(ledger, "members", members)
        cache = StatusCache(client.context, template_renderer())
        for _ in range(3):
            client.clock.advance(CACHE_SECONDS)
            await cache.snapshot()
        assert readings == 1
        await record_history(client)
        readings = 0
        client.clock.advance(CACHE_SECONDS)
        assert len((await cache.snapshot()).latest) > 0
        assert readings == 2, "the latest events, and the dead letters"
        client.clock.advance(MAX_LIST_AGE.total_seconds())
        await cache.snapshot()
        assert readings == 4


async def test_changes_are_encoded_once_for_all_streams(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        cache = StatusCache(client.context, template_renderer())
        version, everything = await cache.changes(0)
        assert (await cache.changes(0))[1] is everything
        assert await cache.changes(version) == (version, b"")
        client.context.health.report("bus", State.FAILED, "refused")
        client.clock.advance(CACHE_SECONDS)
        later, changes = await cache.changes(version)
        assert later > version
        assert set(msgspec.json.decode(changes)) == {"headline", "components"}
        assert (await cache.changes(version))[1] is changes
        assert set(msgspec.json.decode((await cache.changes(0))[1])) == set(SECTIONS)
