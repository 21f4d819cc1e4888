"""A server in the event loop of the test, so that a test needs no waiting between the server's steps and its own."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

PAGE = b'{"data": [{"executionId": "e-1"}]}'
FORGED = b'{"data": [{"executionId": "forged"}]}'


def http_response(body: bytes = PAGE, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass(slots=True)
class RawConnection:
    """A connection, as the server sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    request_heads: list[bytes] = field(default_factory=list)

    async def request(self) -> bytes:
        """Read and return the head of the next request. Raise IncompleteReadError if the client closes first."""
        self.request_heads.append(await self.reader.readuntil(b"\r\n\r\n"))
        return self.request_heads[-1]

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def respond_to_all(self, data: bytes = b"") -> None:
        while True:
            await self.request()
            await self.send(data or http_response())


class RawServer:
    """A server that listens at `url` and records every connection in `connections`."""

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
    """Run a server that calls `handler` with each connection and closes the connection afterwards."""
    server = RawServer(handler)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=tls)
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        await server.close()
