"""Slow clients: each phase of a connection has a time limit, and the log has one line for it."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections.abc import AsyncIterator, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from forwarder.web import connection_limit, status_page
from forwarder.web.connection import Timeouts
from forwarder.web.connection_limit import (
    MAX_CONNECTIONS,
    MIN_CONNECTIONS,
    WEB_UI_SHARE,
    connections_within,
    max_connections,
)
from forwarder.web.status_page import MAX_STREAMS_OF_SESSION, STREAMS_SHARE
from tests.waiting import until
from tests.web.certificates import create_certificate
from tests.web.client import WebClient, web_client

SHORT_SECONDS = 0.3
MAX_TEST_CONNECTIONS = 96
"""A limit of connections that takes few streams to reach. Each open stream costs time."""

LONG_TIMEOUTS = Timeouts(handshake=60, head=60, body=60, idle=60, write=60, lingering=60, shutdown=SHORT_SECONDS)

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(address: str, **options: Any) -> AsyncIterator[Ends]:
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, **options)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def closed(reader: asyncio.StreamReader) -> bytes:
    """Return the bytes until the connection is closed. Fail if it stays open."""
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


def head(client: WebClient, line: str, *more: str) -> bytes:
    host = urlsplit(client.addresses.web_ui or client.addresses.health).netloc
    return "\r\n".join([line, f"Host: {host}", f"Origin: http://{host}", *more, "", ""]).encode()


def kinds(log: list[MutableMapping[str, Any]]) -> list[Any]:
    return [line["kind"] for line in log if "kind" in line]


@pytest.mark.parametrize("beginning", [b"", b"G", b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"\r\n\r\n"])
async def test_client_with_an_incomplete_head_is_closed(tmp_path: Path, beginning: bytes) -> None:
    async with (
        web_client(tmp_path, timeouts=replace(LONG_TIMEOUTS, head=SHORT_SECONDS)) as client,
        connected(client.addresses.web_ui) as (reader, writer),
    ):
        with capture_logs() as log:
            writer.write(beginning)
            assert await closed(reader) == b""
        assert kinds(log) == ["header_timeout"]


async def test_client_with_a_slow_head_is_closed(tmp_path: Path) -> None:
    """The whole head has one limit, which a received byte does not extend."""
    async with (
        web_client(tmp_path, timeouts=replace(LONG_TIMEOUTS, head=SHORT_SECONDS)) as client,
        connected(client.addresses.web_ui) as (reader, writer),
    ):

        async def trickle() -> None:
            with suppress(ConnectionError):
                for byte in b"GET /" + b"a" * 10_000:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.01)

        trickling = asyncio.create_task(trickle())
        assert await closed(reader) == b""
        trickling.cancel()


async def test_second_head_has_the_limit_of_the_first(tmp_path: Path) -> None:
    async with (
        web_client(tmp_path, timeouts=replace(LONG_TIMEOUTS, head=SHORT_SECONDS)) as client,
        connected(client.addresses.web_ui) as (reader, writer),
    ):
        writer.write(head(client, "GET /livez HTTP/1.1"))
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /li")
        assert await closed(reader) == b""


async def test_idle_client_is_closed_after_its_request(tmp_path: Path) -> None:
    async with (
        web_client(tmp_path, timeouts=replace(LONG_TIMEOUTS, idle=SHORT_SECONDS)) as client,
        connected(client.addresses.web_ui) as (reader, writer),
    ):
        with capture_logs() as log:
            writer.write(head(client, "GET /livez HTTP/1.1"))
            assert (await closed(reader)).startswith(b"HTTP/1.1 200")
        assert kinds(log) == []


@pytest.mark.parametrize("length", ["Content-Length: 60", "Transfer-Encoding: chunked"])
async def test_incomplete_body_is_refused(tmp_path: Path, length: str) -> None:
    timeouts = replace(LONG_TIMEOUTS, body=SHORT_SECONDS, lingering=SHORT_SECONDS)
    async with (
        web_client(tmp_path, timeouts=timeouts) as client,
        connected(client.addresses.web_ui) as (reader, writer),
    ):
        with capture_logs() as log:
            writer.write(head(client, "POST /login HTTP/1.1", length) + b"6\r\ntoken=")
            assert (await closed(reader)).startswith(b"HTTP/1.1 408")
        assert kinds(log) == ["body_timeout"]


async def test_unread_body_is_dropped(tmp_path: Path) -> None:
    """The response is sent at once, and the connection does not wait for the rest of the body."""
    timeouts = replace(LONG_TIMEOUTS, lingering=SHORT_SECONDS)
    async with web_client(tmp_path, listen="", health_listen="127.0.0.1:0", timeouts=timeouts) as client:
        for line in ("GET /livez HTTP/1.1", "POST /none HTTP/1.1"):
            async with connected(client.addresses.health) as (reader, writer):
                writer.write(head(client, line, "Content-Length: 1000") + b"x")
                assert (await closed(reader)).startswith((b"HTTP/1.1 200", b"HTTP/1.1 404"))


async def test_client_that_does_not_read_is_closed(tmp_path: Path) -> None:
    async with web_client(tmp_path, timeouts=replace(LONG_TIMEOUTS, write=SHORT_SECONDS)) as client:
        parts = urlsplit(client.addresses.web_ui)
        with socket.socket() as stuck, capture_logs() as log:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            stuck.setblocking(False)
            await asyncio.get_running_loop().sock_connect(stuck, (parts.hostname, parts.port))
            sending = asyncio.create_task(send_without_reading(stuck, head(client, "GET /metrics HTTP/1.1")))
            await until(lambda: "write_timeout" in kinds(log))
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        assert (await client.get("/livez")).status == 200


async def send_without_reading(stuck: socket.socket, request: bytes) -> None:
    with suppress(ConnectionError):
        while True:
            await asyncio.get_running_loop().sock_sendall(stuck, request)


async def test_incomplete_handshake_is_closed(tmp_path: Path) -> None:
    timeouts = replace(LONG_TIMEOUTS, handshake=SHORT_SECONDS)
    async with web_client(tmp_path, timeouts=timeouts, **create_certificate(tmp_path)) as client:
        for beginning in (b"", b"\x16\x03\x01"):
            async with connected(client.addresses.web_ui) as (reader, writer):
                writer.write(beginning)
                assert await closed(reader) == b""


async def test_plain_request_to_a_tls_listener_is_closed(tmp_path: Path) -> None:
    async with (
        web_client(tmp_path, timeouts=LONG_TIMEOUTS, **create_certificate(tmp_path)) as client,
        connected(client.addresses.web_ui) as (reader, writer),
    ):
        with capture_logs() as log:
            writer.write(head(client, "GET /planted-token HTTP/1.1"))
            assert b"HTTP/1" not in await closed(reader)
        assert kinds(log) == ["tls_handshake"]
        assert "planted" not in str(log)


async def test_tls_client_is_limited_after_the_handshake_too(tmp_path: Path) -> None:
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    async with (
        web_client(
            tmp_path, timeouts=replace(LONG_TIMEOUTS, head=SHORT_SECONDS), **create_certificate(tmp_path)
        ) as client,
        connected(client.addresses.web_ui, ssl=trusting) as (reader, writer),
    ):
        writer.write(b"GET /")
        assert await closed(reader) == b""


async def test_longest_waiting_connection_is_closed_for_a_new_one(tmp_path: Path) -> None:
    async with web_client(tmp_path, timeouts=LONG_TIMEOUTS) as client, AsyncExitStack() as stack:
        share = int(max_connections() * WEB_UI_SHARE)
        first, _ = await stack.enter_async_context(connected(client.addresses.web_ui))
        others = [await stack.enter_async_context(connected(client.addresses.web_ui)) for _ in range(share + 20)]
        assert await closed(first) == b""
        assert (await client.get("/livez")).status == 200
        reader, writer = others[-1]
        writer.write(head(client, "GET /livez HTTP/1.1"))
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")


async def test_streams_of_a_session_are_limited(tmp_path: Path) -> None:
    async with web_client(tmp_path, timeouts=LONG_TIMEOUTS) as client, AsyncExitStack() as stack:
        await client.log_in()
        cookie = "; ".join(f"{each.key}={each.value}" for each in client.browser.cookie_jar)
        request = head(client, "GET /status/stream HTTP/1.1", f"Cookie: {cookie}")
        streams = []
        for _ in range(MAX_STREAMS_OF_SESSION):
            reader, writer = await stack.enter_async_context(connected(client.addresses.web_ui))
            writer.write(request)
            assert (await reader.readuntil(b"\n\n")).startswith(b"HTTP/1.1 200")
            streams.append(writer)
        with capture_logs() as log:
            assert (await client.get("/status/stream")).status == 429
        assert kinds(log) == ["too_many_streams"]
        streams[0].close()
        async with asyncio.timeout(20):
            while (await client.get("/status/stream")).status == 429:
                client.clock.advance(1)


async def test_streams_of_all_sessions_leave_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All streams together hold at most a share of the connections, so that the page can still be loaded."""
    for module in (connection_limit, status_page):
        monkeypatch.setattr(module, "max_connections", lambda: MAX_TEST_CONNECTIONS)
    async with web_client(tmp_path, timeouts=LONG_TIMEOUTS) as client, AsyncExitStack() as stack:
        limit = int(STREAMS_SHARE * WEB_UI_SHARE * MAX_TEST_CONNECTIONS)
        statuses: list[bytes] = []
        while len(statuses) <= limit:
            await client.log_in()
            cookie = "; ".join(f"{each.key}={each.value}" for each in client.browser.cookie_jar)
            for _ in range(MAX_STREAMS_OF_SESSION):
                reader, writer = await stack.enter_async_context(connected(client.addresses.web_ui))
                writer.write(head(client, "GET /status/stream HTTP/1.1", f"Cookie: {cookie}"))
                statuses.append((await reader.readuntil(b"\r\n")).split()[1])
        assert (statuses.count(b"200"), set(statuses[limit:])) == (limit, {b"429"})
        assert (await client.get("/")).status == 200


@pytest.mark.parametrize(
    ("descriptors", "expected"),
    [(64, MIN_CONNECTIONS), (256, 128), (1024, MAX_CONNECTIONS), (resource.RLIM_INFINITY, MAX_CONNECTIONS)],
)
def test_limit_follows_the_limit_of_open_files(descriptors: int, expected: int) -> None:
    assert connections_within(descriptors) == expected
