"""The wire under the client: who the other end is, and who stands between."""

import asyncio
import ssl
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from forwarder.errors import SourceUnavailable
from tests.alloy.harness import ids, open_client
from tests.alloy.raw_server import FORGED, PAGE, RawConnection, answer, raw_server
from tests.fakes.alloy import MIB
from tests.fakes.certificates import DAY, Certificate, self_signed


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    certificate = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    certificate.server.set_alpn_protocols(["h2", "http/1.1"])
    return certificate


async def test_over_tls_pages_are_read_and_connections_kept(trusted: Certificate) -> None:
    big = b'{"data": [{"executionId": "e-1"}], "more": "%b"}' % (b"x" * 3_000_000)
    async with raw_server(lambda connection: connection.answer_all(answer(big)), trusted.server) as server:
        async with open_client(server, max_body_bytes=4 * MIB) as client:
            assert [await ids(client) for _ in range(3)] == ["e-1"] * 3
        (connection,) = server.connections
        spoken: ssl.SSLObject = connection.writer.get_extra_info("ssl_object")
        assert (len(connection.request_heads), spoken.selected_alpn_protocol()) == (3, "http/1.1")


@pytest.mark.parametrize("raw_response", [answer(PAGE, "Connection: close"), b"HTTP/1.1 200 OK\r\n\r\n" + PAGE])
async def test_over_tls_too_an_answer_ends_with_its_connection(trusted: Certificate, raw_response: bytes) -> None:
    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(raw_response)

    async with raw_server(handler, trusted.server) as server, open_client(server) as client:
        assert [await ids(client) for _ in range(2)] == ["e-1"] * 2
        assert len(server.connections) == 2


async def test_over_tls_too_a_forged_answer_on_a_connection_at_rest_is_nobodys(trusted: Certificate) -> None:
    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(answer())
        await proceed.wait()
        await connection.send(answer(FORGED))
        sent.set()
        await connection.answer_all()

    proceed, sent = asyncio.Event(), asyncio.Event()
    async with raw_server(handler, trusted.server) as server, open_client(server) as client:
        assert await ids(client) == "e-1"
        proceed.set()
        await sent.wait()
        assert await ids(client) == "e-1"


@pytest.mark.parametrize("options", [{}, {"address": "127.0.0.2"}, {"ended": DAY}], ids=["unknown", "another", "past"])
async def test_a_server_that_cannot_prove_who_it_is_is_asked_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    certificate = self_signed(tmp_path, **options)
    if options:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    async with raw_server(RawConnection.answer_all, certificate.server) as server, open_client(server) as client:
        with pytest.raises(SourceUnavailable, match="cannot be reached"):
            await ids(client)
        assert not [connection.request_heads for connection in server.connections if connection.request_heads]


@pytest.mark.parametrize(
    ("variable", "exempt", "through"),
    [
        ("http_proxy", "", True),
        ("all_proxy", "", True),
        ("http_proxy", "example.com", True),
        ("http_proxy", "127.0.0.1", False),
        ("http_proxy", "*", False),
        ("https_proxy", "", False),
    ],
)
async def test_the_proxy_of_the_environment_is_used_as_httpx_uses_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, exempt: str, through: bool
) -> None:
    async with raw_server(RawConnection.answer_all) as proxy, raw_server(RawConnection.answer_all) as server:
        monkeypatch.setenv(variable, proxy.url)
        monkeypatch.setenv("no_proxy", exempt)
        async with open_client(server) as client:
            assert [await ids(client) for _ in range(2)] == ["e-1"] * 2
        assert (len(proxy.connections), len(server.connections)) == ((1, 0) if through else (0, 1))
        (connection,) = proxy.connections or server.connections
    place = f"{server.url}/" if through else "/"
    lines = [head.decode().split("\r\n")[0] for head in connection.request_heads]
    assert lines == [f"GET {place}2024-03/workflow/w/logs?page=0&limit=2&order=desc HTTP/1.1"] * 2


async def test_to_a_server_behind_a_proxy_a_tunnel_is_dug(
    monkeypatch: pytest.MonkeyPatch, trusted: Certificate
) -> None:
    async def tunnel(connection: RawConnection) -> None:
        where = (await connection.request()).split()[1].decode()
        host, _, port = where.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        with closing(writer):
            await connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(pump(connection.reader, writer), pump(reader, connection.writer))

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async with raw_server(RawConnection.answer_all, trusted.server) as server, raw_server(tunnel) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with open_client(server) as client:
            assert [await ids(client) for _ in range(2)] == ["e-1"] * 2
        assert [len(connection.request_heads) for connection in proxy.connections] == [1]
        assert b"authorization" not in proxy.connections[0].request_heads[0].lower()


@pytest.mark.parametrize(
    "raw_response", [b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", b""]
)
async def test_a_proxy_that_refuses_is_an_outage(monkeypatch: pytest.MonkeyPatch, raw_response: bytes) -> None:
    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(raw_response)

    async with raw_server(handler) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with open_client(proxy, base_url="https://nowhere.example") as client:
            with pytest.raises(SourceUnavailable):
                await ids(client)


@pytest.mark.parametrize("address", ["ftp://proxy.example", "socks5://proxy.example", "http://proxy.example:port"])
async def test_a_proxy_that_cannot_be_used_is_told_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """SOCKS takes a package that is not ours."""
    monkeypatch.setenv("https_proxy", address)
    async with raw_server(RawConnection.answer_all) as server:
        with pytest.raises(SourceUnavailable) as raised:
            async with open_client(server):
                pass
        assert "PROXY" in raised.value.hint
