"""A server in the test's own loop: what it does is done when the test goes on, so that nothing has to be waited for."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

PAGE = b'{"data": [{"executionId": "e-1"}]}'
FORGED = b'{"data": [{"executionId": "forged"}]}'


def answer(body: bytes = PAGE, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass(slots=True)
class Talk:
    """One connection, as the server sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heads: list[bytes] = field(default_factory=list)

    async def request(self) -> bytes:
        """The head of the next one. Raises IncompleteReadError where there is none."""
        self.heads.append(await self.reader.readuntil(b"\r\n\r\n"))
        return self.heads[-1]

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer_all(self, data: bytes = b"") -> None:
        while True:
            await self.request()
            await self.say(data or answer())


class Peer:
    """`url` is where it listens; `talks` is every connection that was made to it."""

    def __init__(self, act: Callable[[Talk], Awaitable[None]]) -> None:
        self._act = act
        self._acts: set[asyncio.Task[Any]] = set()
        self.talks: list[Talk] = []
        self.url = ""

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = Talk(reader, writer)
        self.talks.append(talk)
        act = asyncio.ensure_future(self._act(talk))
        self._acts.add(act)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await act
        writer.close()

    async def leave(self) -> None:
        for act in self._acts:
            act.cancel()
        await asyncio.gather(*self._acts, return_exceptions=True)
        for talk in self.talks:
            talk.writer.transport.abort()
            with suppress(OSError):
                await talk.writer.wait_closed()


@asynccontextmanager
async def peer(act: Callable[[Talk], Awaitable[None]], tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """One that does `act` on each connection, and hangs up after it."""
    one = Peer(act)
    server = await asyncio.start_server(one.greet, "127.0.0.1", 0, ssl=tls)
    one.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield one
    finally:
        server.close()
        await one.leave()
