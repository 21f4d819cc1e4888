"""The end of a response, invalid responses, and the timeouts of the client."""

import asyncio
import socket
from types import SimpleNamespace

import pytest

from forwarder.errors import SourceError, SourceUnavailable
from tests.alloy.harness import ids, open_client
from tests.alloy.raw_server import PAGE, RawConnection, http_response, raw_server
from tests.fakes.actions import ResetAfter
from tests.fakes.alloy import FakeAlloy, cut

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize(
    "raw_response",
    [
        CHUNKED + b"%x;note=1\r\n%b\r\n%x\r\n%b\r\n0\r\nTrailer: 1\r\n\r\n" % (5, PAGE[:5], len(PAGE) - 5, PAGE[5:]),
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + http_response(),
        http_response(PAGE, "X-Long: " + "x" * 90_000),
        http_response(PAGE, *(f"X-{number}: x" for number in range(300))),
        http_response(PAGE, f"Content-Length: {len(PAGE)}"),
        http_response(PAGE).replace(b"200 OK", b"200"),
        http_response(PAGE, "Location: /elsewhere", "Set-Cookie: a=b; Path=/"),
    ],
    ids=["chunked", "hinted", "long", "many", "length twice", "no phrase", "cookie"],
)
async def test_response_in_any_form_and_pieces_is_complete(raw_response: bytes, size: int) -> None:
    async def handler(connection: RawConnection) -> None:
        while True:
            await connection.request()
            for start in range(0, len(raw_response), max(size, len(raw_response) // 200)):
                await connection.send(raw_response[start : start + max(size, len(raw_response) // 200)])
                await asyncio.sleep(0)

    async with raw_server(handler) as server, open_client(server) as client:
        assert [await ids(client) for _ in range(2)] == ["e-1"] * 2
        assert len(server.connections) == 1
        assert not [head for head in server.connections[0].request_heads if b"ookie" in head]


@pytest.mark.parametrize(
    "raw_response",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200\r\n\r\n" + PAGE,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + PAGE,
        http_response(PAGE, "Content-Length: 5"),
        http_response(PAGE).replace(b"Content-Length: ", b"Content-Length: -"),
        http_response(PAGE, "Transfer-Encoding: gzip"),
        http_response(PAGE, "X-Long: " + "x" * 200_000),
        http_response(PAGE, " folded: x", "No colon"),
        http_response(PAGE)[:-1],
        CHUNKED + b"zz\r\n" + PAGE,
        CHUNKED + b"5\r\n" + PAGE[:5],
        CHUNKED + b"%x\r\n%b\r\n" % (len(PAGE), PAGE),
        CHUNKED + b"%x\r\n%b\r\n0\r\n" % (len(PAGE), PAGE),
        CHUNKED + b"%x\r\n%bxx0\r\n\r\n" % (len(PAGE), PAGE),
    ],
)
async def test_invalid_or_cut_response_is_unavailable(raw_response: bytes) -> None:
    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(raw_response if len(server.connections) == 1 else http_response())

    async with raw_server(handler) as server, open_client(server) as client:
        with pytest.raises(SourceUnavailable, match=r"broke off its response|responded with invalid HTTP"):
            await ids(client)
        assert await ids(client) == "e-1"


async def test_broken_connection_is_named(alloy: FakeAlloy) -> None:
    for fault in (ResetAfter(), cut(20, reset=True)):
        alloy.next(fault)
        async with open_client(alloy) as client:
            with pytest.raises(SourceUnavailable, match="the connection broke"):
                await ids(client)


async def test_redirect_is_not_followed_with_the_key() -> None:
    async with raw_server(RawConnection.respond_to_all) as elsewhere:
        raw_response = http_response(b"", f"Location: {elsewhere.url}/", status="307 Temporary Redirect")
        async with (
            raw_server(lambda connection: connection.respond_to_all(raw_response)) as server,
            open_client(server) as client,
        ):
            with pytest.raises(SourceError, match="307"):
                await ids(client)
            assert elsewhere.connections == []


async def test_response_arriving_slowly_may_exceed_the_timeout() -> None:
    async def handler(connection: RawConnection) -> None:
        await connection.request()
        for byte in http_response():
            await connection.send(bytes([byte]))
            await asyncio.sleep(0.05)

    async with raw_server(handler) as server, open_client(server, timeout="3s") as client:
        assert len(http_response()) * 0.05 > 3
        assert await ids(client) == "e-1"


async def test_connection_not_accepted_times_out() -> None:
    with socket.socket() as full, socket.socket() as before:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        before.connect(full.getsockname())  # fills the backlog of one: the kernel accepts no other
        async with open_client(
            SimpleNamespace(url=f"http://127.0.0.1:{full.getsockname()[1]}"), timeout="200ms"
        ) as client:
            with pytest.raises(SourceUnavailable, match=r"in time|timed out"):
                await ids(client)


async def test_handshake_without_reply_times_out() -> None:
    async def handler(connection: RawConnection) -> None:
        await connection.reader.read()

    async with raw_server(handler) as server:
        safe = server.url.replace("http:", "https:")
        async with open_client(server, base_url=safe, timeout="1s") as client, asyncio.timeout(8):
            with pytest.raises(SourceUnavailable, match=r"in time|timed out"):
                await ids(client)
