"""The verification of the server's certificate, and the proxies between client and server."""

import asyncio
import ssl
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from forwarder.alloy.connections import Connections, proxy_for
from forwarder.errors import SourceUnavailable
from tests.alloy.harness import ids, open_client
from tests.alloy.raw_server import FORGED, PAGE, RawConnection, http_response, raw_server
from tests.fakes.alloy import MIB
from tests.fakes.certificates import DAY, Certificate, self_signed

OTHER_HOSTS = "localhost,.svc,10.0.0.0/8,::1,fd00::/8,[fd00:ec2::23],[::1]:80,https://x.example,%,*.example"
"""A value of NO_PROXY that exempts no server of these tests. Each entry is in a form that people write."""


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    certificate = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    certificate.server.set_alpn_protocols(["h2", "http/1.1"])
    return certificate


async def test_tls_connection_is_kept_between_pages(trusted: Certificate) -> None:
    big = b'{"data": [{"executionId": "e-1"}], "more": "%b"}' % (b"x" * 3_000_000)
    async with raw_server(lambda connection: connection.respond_to_all(http_response(big)), trusted.server) as server:
        async with open_client(server, max_body_bytes=4 * MIB) as client:
            assert [await ids(client) for _ in range(3)] == ["e-1"] * 3
        (connection,) = server.connections
        tls: ssl.SSLObject = connection.writer.get_extra_info("ssl_object")
        assert (len(connection.request_heads), tls.selected_alpn_protocol()) == (3, "http/1.1")


@pytest.mark.parametrize("raw_response", [http_response(PAGE, "Connection: close"), b"HTTP/1.1 200 OK\r\n\r\n" + PAGE])
async def test_tls_response_may_end_with_its_connection(trusted: Certificate, raw_response: bytes) -> None:
    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(raw_response)

    async with raw_server(handler, trusted.server) as server, open_client(server) as client:
        assert [await ids(client) for _ in range(2)] == ["e-1"] * 2
        assert len(server.connections) == 2


async def test_unsolicited_tls_response_is_discarded(trusted: Certificate) -> None:
    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(http_response())
        await proceed.wait()
        await connection.send(http_response(FORGED))
        sent.set()
        await connection.respond_to_all()

    proceed, sent = asyncio.Event(), asyncio.Event()
    async with raw_server(handler, trusted.server) as server, open_client(server) as client:
        assert await ids(client) == "e-1"
        proceed.set()
        await sent.wait()
        assert await ids(client) == "e-1"


@pytest.mark.parametrize(
    "options", [{}, {"address": "127.0.0.2"}, {"ended": DAY}], ids=["unknown issuer", "another host", "expired"]
)
async def test_untrusted_certificate_gets_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    certificate = self_signed(tmp_path, **options)
    if options:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    async with raw_server(RawConnection.respond_to_all, certificate.server) as server, open_client(server) as client:
        with pytest.raises(SourceUnavailable, match="cannot be reached"):
            await ids(client)
        assert not [connection.request_heads for connection in server.connections if connection.request_heads]


@pytest.mark.parametrize(
    ("address", "proxy", "is_loaded"),
    [
        ("http://127.0.0.1:9", "", False),
        ("http://127.0.0.1:9", "http://127.0.0.1:9", False),
        ("http://127.0.0.1:9", "HTTPS://127.0.0.1:9", True),
        ("HTTPS://127.0.0.1:9", "", True),
    ],
)
async def test_certificates_are_loaded_only_for_tls(
    monkeypatch: pytest.MonkeyPatch, *, address: str, proxy: str, is_loaded: bool
) -> None:
    """Loading them is most of the cost of a client. A client that loads none trusts no server."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    connections = Connections(httpx.URL(address), headers={}, count=1, seconds=1)
    trust = connections._tls_context()  # noqa: SLF001  # httpx does not show the context
    assert bool(trust.cert_store_stats()["x509_ca"]) is is_loaded
    assert (trust.verify_mode, trust.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    ("variable", "exempt", "through"),
    [
        ("http_proxy", "", True),
        ("all_proxy", "", True),
        ("http_proxy", "example.com", True),
        ("http_proxy", "127.0.0.1", False),
        ("http_proxy", "*", False),
        ("https_proxy", "", False),
        ("http_proxy", "127.0.0.1:{port}", False),
        ("http_proxy", "127.0.0.1:1", True),
        ("http_proxy", OTHER_HOSTS, True),
        ("http_proxy", f"{OTHER_HOSTS}, 127.0.0.1", False),
        ("https_proxy", OTHER_HOSTS, False),
    ],
)
@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_proxy_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, variable: str, exempt: str, through: bool, scheme: str
) -> None:
    async with raw_server(RawConnection.respond_to_all) as proxy, raw_server(RawConnection.respond_to_all) as server:
        monkeypatch.setenv(variable, proxy.url.replace("http://", scheme))
        monkeypatch.setenv("no_proxy", exempt.format(port=httpx.URL(server.url).port))
        async with open_client(server) as client:
            assert [await ids(client) for _ in range(2)] == ["e-1"] * 2
        assert (len(proxy.connections), len(server.connections)) == ((1, 0) if through else (0, 1))
        (connection,) = proxy.connections or server.connections
    prefix = f"{server.url}/" if through else "/"
    lines = [head.decode().split("\r\n")[0] for head in connection.request_heads]
    assert lines == [f"GET {prefix}2024-03/workflow/w/logs?page=0&limit=2&order=desc HTTP/1.1"] * 2


@pytest.mark.parametrize(
    ("exempt", "is_exempt"),
    [
        ("fd00::1", True),
        ("[fd00::1]", True),
        ("[fd00::1]:443", True),
        ("fd00::2,[fd00::2],[fd00::1]:80", False),
        ("fd00::/8", False),
    ],
)
def test_ipv6_server_is_exempt_in_each_spelling(monkeypatch: pytest.MonkeyPatch, exempt: str, is_exempt: bool) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example")
    monkeypatch.setenv("no_proxy", exempt)
    assert bool(proxy_for(httpx.URL("https://[fd00::1]/"))) is not is_exempt


async def test_https_through_a_proxy_uses_a_tunnel(monkeypatch: pytest.MonkeyPatch, trusted: Certificate) -> None:
    """The proxy does not see the key."""

    async def tunnel(connection: RawConnection) -> None:
        target = (await connection.request()).split()[1].decode()
        host, _, port = target.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        with closing(writer):
            await connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(pump(connection.reader, writer), pump(reader, connection.writer))

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async with raw_server(RawConnection.respond_to_all, trusted.server) as server, raw_server(tunnel) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with open_client(server) as client:
            assert [await ids(client) for _ in range(2)] == ["e-1"] * 2
        assert [len(connection.request_heads) for connection in proxy.connections] == [1]
        assert b"authorization" not in proxy.connections[0].request_heads[0].lower()


@pytest.mark.parametrize(
    "raw_response", [b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", b""]
)
async def test_refusing_proxy_is_an_outage(monkeypatch: pytest.MonkeyPatch, raw_response: bytes) -> None:
    async def handler(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(raw_response)

    async with raw_server(handler) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with open_client(proxy, base_url="https://nowhere.example") as client:
            with pytest.raises(SourceUnavailable):
                await ids(client)


@pytest.mark.parametrize("address", ["ftp://proxy.example", "socks5://proxy.example", "http://proxy.example:port"])
async def test_unusable_proxy_is_reported_before_any_request(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """SOCKS needs a package that the forwarder does not install."""
    monkeypatch.setenv("http_proxy", address)
    async with raw_server(RawConnection.respond_to_all) as server:
        with pytest.raises(SourceUnavailable) as raised:
            async with open_client(server):
                pass
        assert "PROXY" in raised.value.hint
