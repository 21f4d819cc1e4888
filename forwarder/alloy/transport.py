"""HTTP/1.1 over one connection, as a transport of httpx.

httpx's own asks a pool, locks and a layer over event loops about every step, which takes several times what reading a
page does. This one reads with the same parser, h11, so that what is an answer and what is a broken one stays the same;
it fails with httpx's errors, and keeps to httpx's limits. It knows no proxies.
"""

import asyncio
import select
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import cast

import h11
import httpx

LARGEST_HEAD = 100 * 1024
"""Bytes of a status line with its headers, or of what frames a chunk."""

KEEP_ALIVE = 5.0
"""Seconds for which a connection is kept that nobody speaks on."""

NEXT_ADDRESS = 0.25
"""Seconds until another of a server's addresses is tried beside one that does not answer (RFC 8305)."""

RawHeaders = list[tuple[bytes, bytes]]


class DirectTransport(httpx.AsyncBaseTransport):
    """Sends every request to `server`, one at a time and without a body, on a connection that is kept while it is fit.

    `seconds` is the longest wait to be connected, and then between two bytes of an answer.
    """

    def __init__(self, server: httpx.URL, trust: ssl.SSLContext, seconds: float) -> None:
        self._server = server
        self._trust = trust
        self._seconds = seconds
        self._connection: Connection | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx.TransportError."""
        return await self.send(request.method, request.url.raw_path, request.headers.raw)

    async def send(self, method: str, target: bytes, headers: RawHeaders) -> httpx.Response:
        """Once: whether a server without an answer did what it was asked, nobody knows. Raises httpx.TransportError."""
        if self._connection is None or not self._connection.is_fit():
            await self.aclose()
            self._connection = await self._connect()
        head = await self._connection.ask(method, target, headers)
        return httpx.Response(head.status_code, headers=list(head.headers), stream=Body(self._connection))

    async def aclose(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def _connect(self) -> "Connection":
        is_safe = self._server.scheme == "https"
        try:
            async with asyncio.timeout(self._seconds):
                _, connection = await asyncio.get_running_loop().create_connection(
                    partial(Connection, self._seconds),
                    self._server.raw_host.decode("ascii"),
                    self._server.port or (443 if is_safe else 80),
                    ssl=self._trust if is_safe else None,
                    happy_eyeballs_delay=NEXT_ADDRESS,
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection in time") from error
        except (OSError, UnicodeError) as error:  # the latter for a name that no server can have
            raise httpx.ConnectError(str(error)) from error
        return connection


class Connection(asyncio.Protocol):
    """Request and answer in turns. What the server says out of its turn is never read, and ends the connection.

    Whoever asked takes the whole answer at once or closes: what was said and not yet read has no bound.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._talk = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)
        self._said: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self._rested_at = self._now()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._talk.our_state is h11.IDLE:
            self.close()
        else:
            self._said.put_nowait(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._said.put_nowait(error or b"")

    def is_fit(self) -> bool:
        """Whether it may be asked: neither closed, nor about to be, nor so long at rest that somebody forgot it."""
        if self._talk.our_state is not h11.IDLE or self._transport.is_closing():
            return False
        return self._now() - self._rested_at < KEEP_ALIVE and not self._is_readable()

    async def ask(self, method: str, target: bytes, headers: RawHeaders) -> h11.Response:
        with self._closed_by_errors():
            asked = h11.Request(method=method, target=target, headers=headers)
            self._transport.write((self._talk.send(asked) or b"") + (self._talk.send(h11.EndOfMessage()) or b""))
            while True:
                event = await self._next_event()
                if isinstance(event, h11.Response):
                    return event

    async def chunks(self) -> AsyncIterator[bytes]:
        with self._closed_by_errors():
            while isinstance(event := await self._next_event(), h11.Data):
                yield bytes(event.data)

    def rest(self) -> None:
        """After an answer: to be asked again, where it was read to its end and nothing stands behind it."""
        ended = self._talk.our_state is h11.DONE and self._talk.their_state is h11.DONE
        if ended and not self._talk.trailing_data[0] and self._said.empty():
            self._talk.start_next_cycle()
            self._rested_at = self._now()
        else:
            self.close()

    def close(self) -> None:
        """At once: without waiting for a server that may never say farewell."""
        self._transport.abort()

    async def _next_event(self) -> h11.Event:
        while not isinstance(event := self._talk.next_event(), h11.Event):
            async with asyncio.timeout(self._seconds):
                said = await self._said.get()
            if isinstance(said, Exception):
                raise said
            self._talk.receive_data(said)
        return event

    @contextmanager
    def _closed_by_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.close()
            match error:
                case TimeoutError():
                    raise httpx.ReadTimeout("no answer in time") from error
                case OSError():
                    raise httpx.ReadError(str(error)) from error
                case h11.RemoteProtocolError():
                    raise httpx.RemoteProtocolError(str(error)) from error
                case h11.LocalProtocolError():
                    raise httpx.LocalProtocolError(str(error)) from error
            raise

    def _is_readable(self) -> bool:
        """At rest that is the end of the connection, or something that nobody asked for."""
        look = select.poll()
        look.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(look.poll(0))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


class Body(httpx.AsyncByteStream):
    """Of the answer that a connection is giving."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._connection.chunks()

    async def aclose(self) -> None:
        self._connection.rest()
