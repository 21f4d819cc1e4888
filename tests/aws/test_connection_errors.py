"""An error of the connect phase means that the request was never sent, so it cannot be a duplicate."""

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from forwarder.errors import DestinationError, DestinationUnavailable
from tests.aws.harness import events, open_bus, raised_by
from tests.fakes.actions import Action, Endless, Hang, HttpResponse, Line, Raw, ResetAfter
from tests.fakes.certificates import self_signed
from tests.fakes.eventbridge import StrictEventBridge
from tests.fakes.wire import WireServer

pytestmark = pytest.mark.usefixtures("either_client")


ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
TO_CONNECT: dict[str, Action] = {
    "garbage": Raw(b"garbage\r\n\r\n"),
    "binary": Raw(bytes(range(256))),
    "another protocol": Raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "closed": Hang(0),
    "reset": ResetAfter(),
    "half a status line": Raw(b"HTTP/1.1 20"),
    "silent": Hang(60),
    "trickle": Endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", pause_seconds=0.001),
    **{
        f"{status}": HttpResponse(status, {}, b"<html>")
        for status in (301, 400, 403, 404, 407, 418, 500, 502, 503, 504)
    },
    "status 999": Raw(b"HTTP/1.1 999 No\r\n\r\n"),
    "wrong version": Raw(b"HTTP/9.9 200 OK\r\n\r\n"),
    "header without name": Raw(b"HTTP/1.1 200 OK\r\n: x\r\n\r\n"),
    "both framings": Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "open, then closed": Raw(ESTABLISHED),
    "open, then plain HTTP": Raw(ESTABLISHED + b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    "open, then garbage": Raw(ESTABLISHED + b"\x00" * 4000),
    "open, with a body": Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
}


@pytest.mark.parametrize("name", TO_CONNECT)
async def test_request_of_failed_tunnel_is_never_sent(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with WireServer(lambda _: TO_CONNECT[name]) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        with StrictEventBridge() as bridge:
            address = bridge.url.replace("http://", "https://")
            async with open_bus(bridge, endpoint_url=address, verify=False, timeout="500ms") as bus:
                error = await raised_by(DestinationUnavailable, lambda: bus.publish(events()))
            assert (error.code, bool(error.hint)) == ("unreachable", True)
            assert address.removeprefix("https://") in error.message
            assert bridge.served == []
        assert proxy.count == 1


TO_HELLO: dict[str, Action] = {name: TO_CONNECT[name] for name in ("garbage", "binary", "closed", "reset", "silent")}


@dataclass(frozen=True)
class ActOnConnect:
    """A TCP server that acts before it reads anything."""

    action: Action

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.action.perform(Line(reader, writer))
        writer.transport.abort()


@pytest.mark.parametrize("name", TO_HELLO)
async def test_request_of_failed_handshake_is_never_sent(name: str) -> None:
    server = await asyncio.start_server(ActOnConnect(TO_HELLO[name]), "127.0.0.1", 0)
    async with server:
        address = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with StrictEventBridge() as bridge:
            async with open_bus(bridge, endpoint_url=address, verify=False, timeout="500ms") as bus:
                error = await raised_by(DestinationUnavailable, lambda: bus.publish(events()))
    assert (error.code, bool(error.hint)) == ("unreachable", True)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://no-such-host.invalid", ("resolved",)),
        ("https://127.0.0.1:1", ("refused",)),
        ("http://127.0.0.1:1", ("refused",)),
    ],
)
async def test_unreachable_bus_is_named_with_its_cause(
    bridge: StrictEventBridge, address: str, words: tuple[str, ...]
) -> None:
    for verify in (True, False):
        async with open_bus(bridge, endpoint_url=address, verify=verify) as bus:
            error = await raised_by(DestinationUnavailable, partial(bus.publish, events()))
        assert all(word in error.message for word in words), error
        assert error.hint


@pytest.mark.parametrize("variable", ["", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
async def test_untrusted_certificate_names_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "other").mkdir()
    if variable:
        monkeypatch.setenv(variable, str(self_signed(tmp_path / "other").file))
    with StrictEventBridge(tls=self_signed(tmp_path).server) as bridge:
        for verify in (True, False):
            async with open_bus(bridge, verify=verify, timeout="10s") as bus:
                error = await raised_by(DestinationUnavailable, partial(bus.publish, events()))
            assert "not trusted" in error.message
            assert ("REQUESTS_CA_BUNDLE" if variable == "REQUESTS_CA_BUNDLE" else "AWS_CA_BUNDLE") in error.hint
        assert bridge.served == []


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
async def test_missing_ca_bundle_names_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "gone.pem"))
    with StrictEventBridge(tls=self_signed(tmp_path).server) as bridge:
        for verify in (True, False):
            async with open_bus(bridge, verify=verify, timeout="10s") as bus:
                with pytest.raises(DestinationError) as raised:
                    await bus.publish(events())
            assert variable in str(raised.value)
            assert "gone.pem" in str(raised.value)


async def test_key_log_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with StrictEventBridge(tls=self_signed(tmp_path).server) as bridge:
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "gone" / "keys.log"))
        for verify in (True, False):
            async with open_bus(bridge, verify=verify, timeout="10s") as bus:
                error = await raised_by(DestinationUnavailable, partial(bus.publish, events()))
            assert "SSLKEYLOGFILE names" in error.message
            assert "unset SSLKEYLOGFILE" in error.hint
