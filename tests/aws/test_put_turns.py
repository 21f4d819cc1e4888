"""Answers that come before their turn, and what is said when nobody asked: each request gets its own answer or none."""

import asyncio
from dataclasses import dataclass

import pytest
from botocore.exceptions import ClientError

from forwarder.aws.answers import RequestRefused, put_events_error
from tests.aws.test_put import ACCEPTED, ENTRIES, KEYS, a_client, told
from tests.fakes.actions import Action, Answer, Line, Raw
from tests.fakes.wire import Request, WireServer
from tests.loops import looped

LARGE = [{"Source": "alloy.embedded", "Detail": "x" * 8_000_000}]
"""More than any connection takes at once."""

PATIENCE = 1.0
"""Seconds, of the client."""


@dataclass(frozen=True)
class Refused(Action):
    """By the length that its head tells: the body is not read, or not before it was refused."""

    request: Request
    then: str

    async def perform(self, line: Line) -> bool:
        await line.send(told("413 Content Too Large", "e"))
        if self.then == "reads":
            await line.reader.readexactly(length(self.request))
        if self.then == "waits":
            await asyncio.sleep(6 * PATIENCE)
        return self.then == "reads"


@pytest.mark.parametrize("then", ["closes", "waits", "reads"])
@looped
async def test_a_body_that_is_refused_by_its_length_is_refused_at_once(then: str) -> None:
    def screen(request: Request) -> Action | None:
        return Refused(request, then) if request.index == 0 else None

    with WireServer(lambda _: ACCEPTED, screen=screen) as server:
        async with a_client(server.url) as client:
            async with asyncio.timeout(3 * PATIENCE):
                with pytest.raises(ClientError) as refused:
                    await client.put_events(KEYS, LARGE)
            assert isinstance(put_events_error(refused.value), RequestRefused)
            await asyncio.sleep(1.2 * PATIENCE)  # in which nothing may be late that nobody waits for
            assert (await client.put_events(KEYS, ENTRIES))["FailedEntryCount"] == 0


@dataclass(frozen=True)
class SlowToRead(Action):
    request: Request

    async def perform(self, line: Line) -> bool:
        await asyncio.sleep(2 * PATIENCE)
        await line.reader.readexactly(length(self.request))
        return await ACCEPTED.perform(line)


@looped
async def test_nobody_is_late_while_a_body_is_on_its_way() -> None:
    with WireServer(lambda _: ACCEPTED, screen=SlowToRead) as server:
        async with a_client(server.url) as client:
            assert (await client.put_events(KEYS, LARGE))["FailedEntryCount"] == 0


@dataclass(frozen=True)
class Unasked(Action):
    """An answer, and a little later, on a connection at rest, something more."""

    answer: Answer
    more: bytes

    async def perform(self, line: Line) -> bool:
        kept = await self.answer.perform(line)
        await asyncio.sleep(0.05)
        await line.send(self.more)
        return kept


@pytest.mark.parametrize("more", [told("200 OK", "stray"), told("408 Request Timeout", "stray"), told("100 Continue")],
                         ids=["200", "408", "100"])  # fmt: skip
@looped
async def test_what_was_said_while_nobody_asked_is_no_answer(more: bytes) -> None:
    with WireServer(lambda request: Unasked(answer_to(request), more)) as server:
        async with a_client(server.url) as client:
            for number in range(3):
                assert (await client.put_events(KEYS, ENTRIES))["Entries"] == [{"EventId": f"{number}"}]
                await asyncio.sleep(0.2)


def length(request: Request) -> int:
    return int(request.headers["content-length"])


def answer_to(request: Request) -> Answer:
    return Answer(200, {}, b'{"FailedEntryCount": 0, "Entries": [{"EventId": "%d"}]}' % request.index)


@looped
async def test_another_protocol_is_no_answer() -> None:
    with WireServer(lambda _: Raw(told("101 Switching Protocols"))) as server:
        async with a_client(server.url) as client, asyncio.timeout(3 * PATIENCE):
            assert await client.put_events(KEYS, ENTRIES) == {}
