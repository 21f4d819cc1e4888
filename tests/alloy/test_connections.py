"""The connections of the client: their reuse, and the requests sent on them."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace

import pytest

from forwarder.alloy import connections
from forwarder.alloy.client import LogsClient
from forwarder.errors import SourceError, SourceUnavailable
from tests.alloy.harness import FEED, ids, open_client
from tests.alloy.raw_server import FORGED, PAGE, RawConnection, RawServer, http_response, raw_server
from tests.fakes.alloy import API_KEY, MIB
from tests.waiting import until

PAGE_BYTES = 100
"""The size of a small response, whose head and page are read at once."""


async def test_connection_serves_several_requests() -> None:
    async with raw_server(RawConnection.respond_to_all) as server, open_client(server) as client:
        assert [await ids(client) for _ in range(4)] == ["e-1"] * 4
        assert [len(connection.request_heads) for connection in server.connections] == [4]


@pytest.mark.parametrize(
    "last",
    [
        http_response(PAGE, "Connection: close"),
        http_response(),
        b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(PAGE), PAGE),
        b"HTTP/1.1 200 OK\r\n\r\n" + PAGE,
    ],
    ids=["announced", "unannounced", "HTTP/1.0", "end of response"],
)
async def test_connection_closed_by_the_server_is_not_reused(last: bytes) -> None:
    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(last)

    async with raw_server(handler) as server, open_client(server) as client:
        for number in range(1, 4):
            assert await ids(client) == "e-1"
            await until(lambda: all(connection.writer.transport.is_closing() for connection in server.connections))
            assert len(server.connections) == number


async def test_connection_closed_without_notice_is_not_reused() -> None:
    """The client gets no turn of the event loop in which it could notice the close."""

    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(http_response())

    async with raw_server(handler) as server, open_client(server) as client:
        assert [await ids(client) for _ in range(5)] == ["e-1"] * 5
        assert len(server.connections) == 5


@pytest.mark.parametrize("at_once", [True, False], ids=["with the response", "later"])
@pytest.mark.parametrize(
    "stray", [http_response(FORGED), http_response(b"", status="408 Request Timeout"), b"\r\n", b"x"]
)
async def test_unsolicited_response_is_discarded(stray: bytes, at_once: bool) -> None:
    """Gateways send 408 on idle connections, and a page of another feed would be recorded as this feed's."""

    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(http_response() + (stray if at_once else b""))
        await proceed.wait()
        await connection.send(b"" if at_once else stray)
        sent.set()
        await connection.respond_to_all()

    proceed, sent = asyncio.Event(), asyncio.Event()
    async with raw_server(handler) as server, open_client(server) as client:
        assert await ids(client) == "e-1"
        proceed.set()
        await sent.wait()
        assert await ids(client) == "e-1"
        assert len(server.connections) == 2


async def test_response_of_cancelled_request_is_not_used_by_the_next() -> None:
    async def handler(connection: RawConnection) -> None:
        await connection.request()
        if len(server.connections) == 1:
            await connection.send(http_response(FORGED)[:-5])
            response_started.set()
            await connection.request()
        await connection.send(http_response())

    response_started = asyncio.Event()
    async with raw_server(handler) as server, open_client(server) as client:
        request = asyncio.create_task(ids(client))
        await response_started.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert await ids(client) == "e-1"


async def test_timeout_closes_the_connection_at_once() -> None:
    async def handler(connection: RawConnection) -> None:
        await connection.request()
        assert await connection.reader.read() == b""
        closed.set()

    closed = asyncio.Event()
    async with raw_server(handler) as server, open_client(server, timeout="200ms") as client:
        with pytest.raises(SourceUnavailable):
            await ids(client)
        async with asyncio.timeout(20):
            await closed.wait()


async def test_lost_connection_sends_no_request_twice() -> None:
    """A rerun must not be repeated, because the server may have started it."""

    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(http_response())
        await connection.request()

    async with raw_server(handler) as server, open_client(server) as client:
        assert await ids(client) == "e-1"
        with pytest.raises(SourceUnavailable):
            await client.rerun(FEED, "e-1")
        assert [len(connection.request_heads) for connection in server.connections] == [2]


async def test_closed_client_closes_its_connections() -> None:
    async def handler(connection: RawConnection) -> None:
        with suppress(asyncio.IncompleteReadError):
            await connection.respond_to_all()
        ended.set()

    ended = asyncio.Event()
    async with raw_server(handler) as server:
        async with open_client(server) as client:
            await ids(client)
            assert not ended.is_set()
        async with asyncio.timeout(20):
            await ended.wait()


@pytest.mark.parametrize("size", [PAGE_BYTES, 40_000, 65_536, 131_072, 200_000, 262_144])
async def test_extra_bytes_after_response_of_any_size_are_discarded(size: int) -> None:
    """The library reads 64 KiB and the event loop 256 KiB at once: extra bytes wait between the two."""
    head = len(http_response()) - len(PAGE) + len(str(size)) - len(str(len(PAGE)))
    page = PAGE[:-1] + b" " * max(0, size - head - len(PAGE)) + b"}"

    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(http_response(page) + http_response(FORGED))
        await connection.respond_to_all()

    async with raw_server(handler) as server, open_client(server) as client:
        assert [await ids(client) for _ in range(3)] == ["e-1"] * 3


async def test_rerun_after_unsolicited_response_is_not_sent_twice() -> None:
    """The server may have started it: the client sends it once on a new connection, or the caller decides."""

    async def handler(connection: RawConnection) -> None:
        if len(server.connections) == 1:
            await connection.request()
            await connection.send(http_response() + http_response(b'{"executionUuid": "forged"}'))
        await connection.respond_to_all(http_response(b'{"executionUuid": "true"}'))

    async with raw_server(handler) as server, open_client(server) as client:
        assert await ids(client) == "e-1"
        with suppress(SourceUnavailable):
            assert await client.rerun(FEED, "e-1") == "true"
        assert sum(b"POST" in head for connection in server.connections for head in connection.request_heads) <= 1


async def test_unsolicited_stream_does_not_fill_the_memory() -> None:
    """The server can send only what the kernel buffers, until the next request ends the connection."""

    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(http_response())
        await proceed.wait()
        with suppress(ConnectionError):
            while len(server.connections) == 1:
                await connection.send(b"x" * 65536)
                sent.append(65536)
        closed.set()

    sent: list[int] = []
    proceed, closed = asyncio.Event(), asyncio.Event()
    async with raw_server(handler) as server, open_client(server) as client:
        assert await ids(client) == "e-1"
        proceed.set()
        await until(lambda: sent or closed.is_set())
        async with asyncio.timeout(20):
            await wait_for_second_connection(server, client)
            await closed.wait()
        assert sum(sent) < 64 * MIB


async def wait_for_second_connection(server: RawServer, client: LogsClient) -> None:
    """Send requests until the client opens a second connection."""
    while len(server.connections) == 1:
        with suppress(SourceUnavailable):
            await ids(client)


async def test_connection_idle_too_long_is_not_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway between client and server may have dropped it without notice."""
    monkeypatch.setattr(connections, "KEEP_ALIVE_SECONDS", 0.0)
    async with raw_server(RawConnection.respond_to_all) as server, open_client(server) as client:
        assert [await ids(client) for _ in range(3)] == ["e-1"] * 3
        assert [len(connection.request_heads) for connection in server.connections] == [1, 1, 1]


async def test_request_has_exactly_the_required_headers() -> None:
    async with (
        raw_server(RawConnection.respond_to_all) as server,
        open_client(server, base_url=f"{server.url}/a%20b/é", version="") as client,
    ):
        await ids(client)
        with suppress(SourceError):
            await client.rerun(FEED, "e")
        with suppress(SourceError):
            await client.list_users()
        (connection,) = server.connections
    lines = [head.decode().lower().split("\r\n")[:-2] for head in connection.request_heads]
    assert [line[0] for line in lines] == [
        "get /a%20b/%c3%a9/workflow/w/logs?page=0&limit=2&order=desc http/1.1",
        "post /a%20b/%c3%a9/workflows/w/rerun/e http/1.1",
        "get /a%20b/%c3%a9/users http/1.1",
    ]
    names = ["host", "accept", "accept-encoding", "cache-control", "authorization", "user-agent"]
    assert [name for name, _, _ in (line.partition(":") for line in lines[0][1:])] == names
    assert lines[0][1] == f"host: {server.url.removeprefix('http://')}"
    assert "content-length: 0" in lines[1]


async def test_key_invalid_in_a_header_is_refused_and_not_printed() -> None:
    async with (
        raw_server(RawConnection.respond_to_all) as server,
        open_client(server, key=f"{API_KEY}\nHost: elsewhere") as client,
    ):
        with pytest.raises(SourceUnavailable) as raised:
            await ids(client)
        assert API_KEY not in f"{raised.value} {raised.value!r}"
        assert not [connection.request_heads for connection in server.connections if connection.request_heads]


async def test_host_with_several_addresses_is_reached() -> None:
    """A listener at one of the addresses is enough."""
    async with raw_server(RawConnection.respond_to_all) as server:
        named = server.url.replace("127.0.0.1", "localhost")
        async with open_client(server, base_url=named) as client:
            assert await ids(client) == "e-1"


@pytest.mark.parametrize("name", ["a..example", f"{'a' * 64}.example", "127.0.0.1:1", "[::1]:1"])
async def test_address_without_server_cannot_be_reached(name: str) -> None:
    async with open_client(SimpleNamespace(url=f"https://{name}")) as client:
        with pytest.raises(SourceUnavailable, match="cannot be reached"):
            await ids(client)


@pytest.mark.parametrize("is_kept_alive", [True, False], ids=["kept connection", "new connection"])
async def test_cancelled_requests_release_their_connections(is_kept_alive: bool) -> None:
    """A cancellation may come at any turn of the event loop: the one connection must be usable afterwards."""
    sent = http_response() if is_kept_alive else http_response(PAGE, "Connection: close")
    async with (
        raw_server(lambda connection: connection.respond_to_all(sent)) as server,
        open_client(server, concurrency=1, timeout="3s") as client,
    ):
        for turns in range(60):
            request = asyncio.create_task(ids(client))
            for _ in range(turns):
                await asyncio.sleep(0)
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
            assert await ids(client) == "e-1", f"cancelled after {turns} turns"
