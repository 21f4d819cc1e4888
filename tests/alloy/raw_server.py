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
class RawConnection:
    """One connection, as the server sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    request_heads: list[bytes] = field(default_factory=list)

    async def request(self) -> bytes:
        """The head of the next one. Raises IncompleteReadError where there is none."""
        self.request_heads.append(await self.reader.readuntil(b"\r\n\r\n"))
        return self.request_heads[-1]

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer_all(self, data: bytes = b"") -> None:
        while True:
            await self.request()
            await self.send(data or answer())


class RawServer:
    """`url` is where it listens; `connections` is every connection that was made to it."""

    def __init__(self, handler: Callable[[RawConnection], Awaitable[None]]) -> None:
        self._handler = handler
        self._handlers: set[asyncio.Task[Any]] = set()
        self.connections: list[RawConnection] = []
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = RawConnection(reader, writer)
        self.connections.append(connection)
        handler = asyncio.ensure_future(self._handler(connection))
        self._handlers.add(handler)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler
        writer.close()

    async def close(self) -> None:
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        for connection in self.connections:
            connection.writer.transport.abort()
            with suppress(OSError):
                await connection.writer.wait_closed()


@asynccontextmanager
async def raw_server(
    handler: Callable[[RawConnection], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """One that does `handler` on each connection, and hangs up after it."""
    one = RawServer(handler)
    server = await asyncio.start_server(one.handle, "127.0.0.1", 0, ssl=tls)
    one.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield one
    finally:
        server.close()
        await one.close()
