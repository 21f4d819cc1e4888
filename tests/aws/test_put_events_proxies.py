"""The PutEvents client behind a proxy, which the environment names as for the SDK."""

import asyncio
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import pytest

from forwarder.aws.put_events import UNSIGNED_HEADERS
from forwarder.aws.responses import put_events_error
from forwarder.errors import DestinationUnavailable
from tests.aws.test_put_events import ACCEPTED, ENTRIES, KEYS, open_client
from tests.fakes.actions import Action, HttpResponse, Line
from tests.fakes.certificates import self_signed
from tests.fakes.wire import Request, WireServer

USER = "planted-user:planted-password"
BASIC = f"Basic {b64encode(USER.encode()).decode()}"


class RecordingHandler:
    """A server's handler that records each request, and accepts it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Action:
        self.requests.append(request)
        return Tunnel(request.target) if request.method == "CONNECT" else ACCEPTED

    @property
    def targets(self) -> list[tuple[str, str | None]]:
        return [(each.target, each.headers.get("proxy-authorization")) for each in self.requests]


@dataclass(frozen=True)
class Tunnel(Action):
    """A tunnel that copies bytes in both directions, until either side ends."""

    target: str

    async def perform(self, line: Line) -> bool:
        host, port = self.target.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await line.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(pipe(line.reader, writer), pipe(reader, line.writer))
        finally:
            writer.close()
        return False


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


def with_user(url: str, user: str) -> str:
    return url.replace("://", f"://{user}@") if user else url


@pytest.mark.parametrize("user", ["", USER])
@pytest.mark.parametrize(
    ("exempt", "through"), [("", True), ("127.0.0.1", False), ("localhost,fd00::/8,[fd00:ec2::23]", True)]
)
async def test_http_bus_is_reached_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch, exempt: str, through: bool, user: str
) -> None:
    by_proxy, by_bus = RecordingHandler(), RecordingHandler()
    with WireServer(by_proxy) as proxy, WireServer(by_bus) as bus:
        monkeypatch.setenv("http_proxy", with_user(proxy.url, user))
        monkeypatch.setenv("no_proxy", exempt)
        async with open_client(bus.url) as client:
            for _ in range(2):
                assert (await client.put_events(KEYS, ENTRIES))["FailedEntryCount"] == 0
    if through:
        assert (by_proxy.targets, by_bus.targets) == ([(f"{bus.url}/", BASIC if user else None)] * 2, [])
        assert {request.headers["host"] for request in by_proxy.requests} == {bus.url.removeprefix("http://")}
    else:
        assert (by_proxy.targets, by_bus.targets) == ([], [("/", None)] * 2)


@pytest.mark.parametrize("user", ["", USER])
async def test_https_bus_is_reached_through_a_tunnel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, user: str
) -> None:
    certificate = self_signed(tmp_path)
    by_proxy, by_bus = RecordingHandler(), RecordingHandler()
    with WireServer(by_proxy) as proxy, WireServer(by_bus, tls=certificate.server) as bus:
        monkeypatch.setenv("https_proxy", with_user(proxy.url, user))
        monkeypatch.setenv("no_proxy", "")
        async with open_client(bus.url, bundle=str(certificate.file)) as client:
            for _ in range(2):
                assert (await client.put_events(KEYS, ENTRIES))["FailedEntryCount"] == 0
    assert by_proxy.targets == [(bus.url.removeprefix("https://"), BASIC if user else None)]
    assert {request.headers["user-agent"] for request in by_proxy.requests} == {UNSIGNED_HEADERS["User-Agent"]}
    assert by_bus.targets == [("/", None)] * 2


async def test_refused_tunnel_is_never_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with WireServer(lambda _: HttpResponse(407)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        async with open_client("https://127.0.0.1:9") as client:
            with pytest.raises(Exception, match="407") as refused:
                await client.put_events(KEYS, ENTRIES)
    assert isinstance(put_events_error(refused.value), DestinationUnavailable)
