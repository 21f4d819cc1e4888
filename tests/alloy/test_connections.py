"""The wire under the client: when a connection is used again, and what is sent on it."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace

import pytest

from forwarder.alloy import connections
from forwarder.alloy.client import LogsClient
from forwarder.errors import SourceError, SourceUnavailable
from tests.alloy.harness import FEED, ids, open_client
from tests.alloy.raw_server import FORGED, PAGE, RawConnection, RawServer, answer, raw_server
from tests.fakes.alloy import API_KEY, MIB
from tests.waiting import until

PAGE_BYTES = 100
"""A small answer: its head and its page are read at once."""


async def test_one_connection_serves_request_after_request() -> None:
    async with raw_server(RawConnection.answer_all) as server, open_client(server) as client:
        assert [await ids(client) for _ in range(4)] == ["e-1"] * 4
        assert [len(connection.request_heads) for connection in server.connections] == [4]


@pytest.mark.parametrize(
    "last",
    [
        answer(PAGE, "Connection: close"),
        answer(),
        b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(PAGE), PAGE),
        b"HTTP/1.1 200 OK\r\n\r\n" + PAGE,
    ],
    ids=["announced", "unannounced", "of the old version", "as the end of the answer"],
)
async def test_a_connection_that_the_server_closed_after_its_answer_is_not_used_again(last: bytes) -> None:
    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(last)

    async with raw_server(handler) as server, open_client(server) as client:
        for number in range(1, 4):
            assert await ids(client) == "e-1"
            await until(lambda: all(connection.writer.transport.is_closing() for connection in server.connections))
            assert len(server.connections) == number


async def test_nor_is_one_whose_end_nobody_had_the_time_to_see() -> None:
    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(answer())

    async with raw_server(handler) as server, open_client(server) as client:
        assert [await ids(client) for _ in range(5)] == ["e-1"] * 5
        assert len(server.connections) == 5


@pytest.mark.parametrize("at_once", [True, False], ids=["with the answer before", "after it"])
@pytest.mark.parametrize("stray", [answer(FORGED), answer(b"", status="408 Request Timeout"), b"\r\n", b"x"])
async def test_what_was_not_asked_for_is_nobodys_answer(stray: bytes, at_once: bool) -> None:
    """A gateway says 408 of its own accord to a connection at rest; a page of another feed would be worse."""

    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(answer() + (stray if at_once else b""))
        await proceed.wait()
        await connection.send(b"" if at_once else stray)
        sent.set()
        await connection.answer_all()

    proceed, sent = asyncio.Event(), asyncio.Event()
    async with raw_server(handler) as server, open_client(server) as client:
        assert await ids(client) == "e-1"
        proceed.set()
        await sent.wait()
        assert await ids(client) == "e-1"
        assert len(server.connections) == 2


async def test_a_request_that_was_given_up_leaves_nothing_of_its_answer_to_the_next() -> None:
    async def handler(connection: RawConnection) -> None:
        await connection.request()
        if len(server.connections) == 1:
            await connection.send(answer(FORGED)[:-5])
            begun.set()
            await connection.request()
        await connection.send(answer())

    begun = asyncio.Event()
    async with raw_server(handler) as server, open_client(server) as client:
        asking = asyncio.create_task(ids(client))
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await ids(client) == "e-1"


async def test_a_server_is_hung_up_on_as_soon_as_it_is_given_up() -> None:
    async def handler(connection: RawConnection) -> None:
        await connection.request()
        assert await connection.reader.read() == b""
        hung_up.set()

    hung_up = asyncio.Event()
    async with raw_server(handler) as server, open_client(server, timeout="200ms") as client:
        with pytest.raises(SourceUnavailable):
            await ids(client)
        async with asyncio.timeout(20):
            await hung_up.wait()


async def test_nothing_is_sent_twice_by_itself() -> None:
    """Least of all a rerun: whether it was begun, nobody knows."""

    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(answer())
        await connection.request()

    async with raw_server(handler) as server, open_client(server) as client:
        assert await ids(client) == "e-1"
        with pytest.raises(SourceUnavailable):
            await client.rerun(FEED, "e-1")
        assert [len(connection.request_heads) for connection in server.connections] == [2]


async def test_with_the_client_its_connections_end() -> None:
    async def handler(connection: RawConnection) -> None:
        with suppress(asyncio.IncompleteReadError):
            await connection.answer_all()
        ended.set()

    ended = asyncio.Event()
    async with raw_server(handler) as server:
        async with open_client(server) as client:
            await ids(client)
            assert not ended.is_set()
        async with asyncio.timeout(20):
            await ended.wait()


@pytest.mark.parametrize("size", [PAGE_BYTES, 40_000, 65_536, 131_072, 200_000, 262_144])
async def test_nor_is_what_came_with_an_answer_of_any_size(size: int) -> None:
    """The library reads in pieces of 64 KiB, the event loop in pieces of 256 KiB: the rest waits between them."""
    head = len(answer()) - len(PAGE) + len(str(size)) - len(str(len(PAGE)))
    page = PAGE[:-1] + b" " * max(0, size - head - len(PAGE)) + b"}"

    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(answer(page) + answer(FORGED))
        await connection.answer_all()

    async with raw_server(handler) as server, open_client(server) as client:
        assert [await ids(client) for _ in range(3)] == ["e-1"] * 3


async def test_a_rerun_whose_answer_came_before_it_is_not_sent_twice() -> None:
    """The server may have begun it: it is sent on another connection at first, or the caller decides."""

    async def handler(connection: RawConnection) -> None:
        if len(server.connections) == 1:
            await connection.request()
            await connection.send(answer() + answer(b'{"executionUuid": "forged"}'))
        await connection.answer_all(answer(b'{"executionUuid": "true"}'))

    async with raw_server(handler) as server, open_client(server) as client:
        assert await ids(client) == "e-1"
        with suppress(SourceUnavailable):
            assert await client.rerun(FEED, "e-1") == "true"
        assert sum(b"POST" in head for connection in server.connections for head in connection.request_heads) <= 1


async def test_a_server_that_speaks_out_of_its_turn_does_not_fill_the_memory() -> None:
    """It gets rid of what the kernel buffers; the connection ends with the next request at the latest."""

    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(answer())
        await proceed.wait()
        with suppress(ConnectionError):
            while len(server.connections) == 1:
                await connection.send(b"x" * 65536)
                sent.append(65536)
        hung_up.set()

    sent: list[int] = []
    proceed, hung_up = asyncio.Event(), asyncio.Event()
    async with raw_server(handler) as server, open_client(server) as client:
        assert await ids(client) == "e-1"
        proceed.set()
        await until(lambda: sent or hung_up.is_set())
        async with asyncio.timeout(20):
            await answered(server, client)
            await hung_up.wait()
        assert sum(sent) < 64 * MIB


async def answered(server: RawServer, client: LogsClient) -> None:
    """Ask until the answer comes on a connection of its own."""
    while len(server.connections) == 1:
        with suppress(SourceUnavailable):
            await ids(client)


async def test_a_connection_that_rested_too_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands between may have forgotten it, and would never say so."""
    monkeypatch.setattr(connections, "KEEP_ALIVE_SECONDS", 0.0)
    async with raw_server(RawConnection.answer_all) as server, open_client(server) as client:
        assert [await ids(client) for _ in range(3)] == ["e-1"] * 3
        assert [len(connection.request_heads) for connection in server.connections] == [1, 1, 1]


# What is sent.


async def test_a_request_says_what_it_has_to_and_no_more() -> None:
    async with (
        raw_server(RawConnection.answer_all) as server,
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


async def test_a_key_that_no_header_can_hold_is_told_without_it() -> None:
    async with (
        raw_server(RawConnection.answer_all) as server,
        open_client(server, key=f"{API_KEY}\nHost: elsewhere") as client,
    ):
        with pytest.raises(SourceUnavailable) as raised:
            await ids(client)
        assert API_KEY not in f"{raised.value} {raised.value!r}"
        assert not [connection.request_heads for connection in server.connections if connection.request_heads]


async def test_of_a_servers_addresses_one_that_answers_is_found() -> None:
    async with raw_server(RawConnection.answer_all) as server:
        named = server.url.replace("127.0.0.1", "localhost")
        async with open_client(server, base_url=named) as client:
            assert await ids(client) == "e-1"


@pytest.mark.parametrize("name", ["a..example", f"{'a' * 64}.example", "127.0.0.1:1", "[::1]:1"])
async def test_where_no_server_is_or_can_be_there_is_no_connection(name: str) -> None:
    async with open_client(SimpleNamespace(url=f"https://{name}")) as client:
        with pytest.raises(SourceUnavailable, match="cannot be reached"):
            await ids(client)


@pytest.mark.parametrize("is_kept_alive", [True, False], ids=["kept connection", "new connection"])
async def test_cancelled_requests_do_not_use_up_the_connections(is_kept_alive: bool) -> None:
    """A cancellation may come at any turn of the event loop: the one connection must be usable afterwards."""
    sent = answer() if is_kept_alive else answer(PAGE, "Connection: close")
    async with (
        raw_server(lambda connection: connection.answer_all(sent)) as server,
        open_client(server, concurrency=1, timeout="3s") as client,
    ):
        for turns in range(60):
            asking = asyncio.create_task(ids(client))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            assert await ids(client) == "e-1", f"cancelled after {turns} turns"
