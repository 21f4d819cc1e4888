"""Early and unsolicited responses: each request gets its own response or none."""

import asyncio
from dataclasses import dataclass

import pytest
from botocore.exceptions import ClientError

from forwarder.aws.responses import RequestRefusal, put_events_error
from tests.aws.test_put_events import ACCEPTED, ENTRIES, KEYS, open_client, raw_response
from tests.fakes.actions import Action, HttpResponse, Line, Raw
from tests.fakes.wire import Request, WireServer

LARGE = [{"Source": "alloy.embedded", "Detail": "x" * 8_000_000}]
"""A body larger than the send buffer of a client (4 MiB) and `RECEIVE_BUFFER` together."""

RECEIVE_BUFFER = 64 * 1024

TIMEOUT_SECONDS = 1.0
"""The timeout of the client."""


@dataclass(frozen=True)
class EarlyRefusal(Action):
    """A refusal by the length in the head, before the body is read."""

    request: Request
    then: str

    async def perform(self, line: Line) -> bool:
        await line.send(raw_response("413 Content Too Large", "e"))
        if self.then == "reads":
            await line.reader.readexactly(length(self.request))
        if self.then == "waits":
            await asyncio.sleep(6 * TIMEOUT_SECONDS)
        return self.then == "reads"


@pytest.mark.parametrize("then", ["closes", "waits", "reads"])
async def test_early_refusal_is_returned_before_body_is_sent(then: str) -> None:
    def screen(request: Request) -> Action | None:
        return EarlyRefusal(request, then) if request.index == 0 else None

    with WireServer(lambda _: ACCEPTED, screen=screen, receive_buffer=RECEIVE_BUFFER) as server:
        async with open_client(server.url) as client:
            async with asyncio.timeout(3 * TIMEOUT_SECONDS):
                with pytest.raises(ClientError) as refused:
                    await client.put_events(KEYS, LARGE)
            assert isinstance(put_events_error(refused.value), RequestRefusal)
            await asyncio.sleep(1.2 * TIMEOUT_SECONDS)  # no timeout may fire while nothing is awaited
            assert (await client.put_events(KEYS, ENTRIES))["FailedEntryCount"] == 0


@dataclass(frozen=True)
class SlowToRead(Action):
    request: Request

    async def perform(self, line: Line) -> bool:
        await asyncio.sleep(2 * TIMEOUT_SECONDS)
        await line.reader.readexactly(length(self.request))
        return await ACCEPTED.perform(line)


async def test_slow_upload_has_no_read_timeout() -> None:
    with WireServer(lambda _: ACCEPTED, screen=SlowToRead) as server:
        async with open_client(server.url) as client:
            assert (await client.put_events(KEYS, LARGE))["FailedEntryCount"] == 0


@dataclass(frozen=True)
class UnsolicitedResponse(Action):
    """A response and, a little later, more bytes on the idle connection."""

    response: HttpResponse
    more: bytes

    async def perform(self, line: Line) -> bool:
        kept = await self.response.perform(line)
        await asyncio.sleep(0.05)
        await line.send(self.more)
        return kept


@pytest.mark.parametrize(
    "more",
    [raw_response("200 OK", "stray"), raw_response("408 Request Timeout", "stray"), raw_response("100 Continue")],
    ids=["200", "408", "100"],
)
async def test_unsolicited_response_is_ignored(more: bytes) -> None:
    with WireServer(lambda request: UnsolicitedResponse(numbered_response(request), more)) as server:
        async with open_client(server.url) as client:
            for number in range(3):
                assert (await client.put_events(KEYS, ENTRIES))["Entries"] == [{"EventId": f"{number}"}]
                await asyncio.sleep(0.2)


def length(request: Request) -> int:
    return int(request.headers["content-length"])


def numbered_response(request: Request) -> HttpResponse:
    return HttpResponse(200, {}, b'{"FailedEntryCount": 0, "Entries": [{"EventId": "%d"}]}' % request.index)


async def test_protocol_switch_is_not_a_response() -> None:
    with WireServer(lambda _: Raw(raw_response("101 Switching Protocols"))) as server:
        async with open_client(server.url) as client, asyncio.timeout(3 * TIMEOUT_SECONDS):
            assert await client.put_events(KEYS, ENTRIES) == {}
