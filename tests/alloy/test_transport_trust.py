"""The wire under the client: who the other end is, and who stands between."""

import asyncio
import ssl
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from forwarder.errors import SourceUnavailable
from tests.alloy.doors import connected, ids
from tests.alloy.peer import FORGED, PAGE, Talk, answer, peer
from tests.fakes.alloy import MIB
from tests.fakes.certificates import DAY, Certificate, self_signed
from tests.loops import looped


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    certificate = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    certificate.server.set_alpn_protocols(["h2", "http/1.1"])
    return certificate


@looped
async def test_over_tls_pages_are_read_and_connections_kept(trusted: Certificate) -> None:
    big = b'{"data": [{"executionId": "e-1"}], "more": "%b"}' % (b"x" * 3_000_000)
    async with peer(lambda talk: talk.answer_all(answer(big)), trusted.server) as server:
        async with connected(server, max_body_bytes=4 * MIB) as client:
            assert [await ids(client) for _ in range(3)] == ["e-1"] * 3
        (talk,) = server.talks
        spoken: ssl.SSLObject = talk.writer.get_extra_info("ssl_object")
        assert (len(talk.heads), spoken.selected_alpn_protocol()) == (3, "http/1.1")


@pytest.mark.parametrize("said", [answer(PAGE, "Connection: close"), b"HTTP/1.1 200 OK\r\n\r\n" + PAGE])
@looped
async def test_over_tls_too_an_answer_ends_with_its_connection(trusted: Certificate, said: bytes) -> None:
    async def act(talk: Talk) -> None:
        await talk.request()
        await talk.say(said)

    async with peer(act, trusted.server) as server, connected(server) as client:
        assert [await ids(client) for _ in range(2)] == ["e-1"] * 2
        assert len(server.talks) == 2


@looped
async def test_over_tls_too_a_forged_answer_on_a_connection_at_rest_is_nobodys(trusted: Certificate) -> None:
    async def act(talk: Talk) -> None:
        await talk.request()
        await talk.say(answer())
        await asked.wait()
        await talk.say(answer(FORGED))
        said.set()
        await talk.answer_all()

    asked, said = asyncio.Event(), asyncio.Event()
    async with peer(act, trusted.server) as server, connected(server) as client:
        assert await ids(client) == "e-1"
        asked.set()
        await said.wait()
        assert await ids(client) == "e-1"


@pytest.mark.parametrize("made", [{}, {"address": "127.0.0.2"}, {"ended": DAY}], ids=["unknown", "another", "past"])
@looped
async def test_a_server_that_cannot_prove_who_it_is_is_asked_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, Any]
) -> None:
    certificate = self_signed(tmp_path, **made)
    if made:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    async with peer(Talk.answer_all, certificate.server) as server, connected(server) as client:
        with pytest.raises(SourceUnavailable, match="cannot be reached"):
            await ids(client)
        assert not [talk.heads for talk in server.talks if talk.heads]


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
@looped
async def test_the_proxy_of_the_environment_is_used_as_httpx_uses_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, exempt: str, through: bool
) -> None:
    async with peer(Talk.answer_all) as proxy, peer(Talk.answer_all) as server:
        monkeypatch.setenv(variable, proxy.url)
        monkeypatch.setenv("no_proxy", exempt)
        async with connected(server) as client:
            assert [await ids(client) for _ in range(2)] == ["e-1"] * 2
        assert (len(proxy.talks), len(server.talks)) == ((1, 0) if through else (0, 1))
        (talk,) = proxy.talks or server.talks
    place = f"{server.url}/" if through else "/"
    lines = [head.decode().split("\r\n")[0] for head in talk.heads]
    assert lines == [f"GET {place}2024-03/workflow/w/logs?page=0&limit=2&order=desc HTTP/1.1"] * 2


@looped
async def test_to_a_server_behind_a_proxy_a_tunnel_is_dug(
    monkeypatch: pytest.MonkeyPatch, trusted: Certificate
) -> None:
    async def tunnel(talk: Talk) -> None:
        where = (await talk.request()).split()[1].decode()
        host, _, port = where.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        with closing(writer):
            await talk.say(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(pump(talk.reader, writer), pump(reader, talk.writer))

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async with peer(Talk.answer_all, trusted.server) as server, peer(tunnel) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with connected(server) as client:
            assert [await ids(client) for _ in range(2)] == ["e-1"] * 2
        assert [len(talk.heads) for talk in proxy.talks] == [1]
        assert b"authorization" not in proxy.talks[0].heads[0].lower()


@pytest.mark.parametrize("said", [b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", b""])
@looped
async def test_a_proxy_that_refuses_is_an_outage(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    async def act(talk: Talk) -> None:
        await talk.request()
        await talk.say(said)

    async with peer(act) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with connected(proxy, base_url="https://nowhere.example") as client:
            with pytest.raises(SourceUnavailable):
                await ids(client)


@pytest.mark.parametrize("address", ["ftp://proxy.example", "socks5://proxy.example", "http://proxy.example:port"])
@looped
async def test_a_proxy_that_cannot_be_used_is_told_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """SOCKS takes a package that is not ours."""
    monkeypatch.setenv("https_proxy", address)
    async with peer(Talk.answer_all) as server:
        with pytest.raises(SourceUnavailable) as raised:
            async with connected(server):
                pass
        assert "PROXY" in raised.value.hint
