"""A raw HTTP/1.1 server on loopback that can produce the faults of real servers and networks.

A handler gets a whole `Request` and returns an action (`actions.py`): an `HttpResponse`, or a fault. `alloy.py` and
`eventbridge.py` are the handlers for the two ends of the forwarder.

    with WireServer(lambda request: HttpResponse(200, body=b"{}")) as server:
        httpx.get(server.url)
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.actions import Action, HttpResponse, Line

HEAD_LIMIT: Final = 1 << 20


@dataclass(slots=True)
class Request:
    """A request as received. `path` and `target` are percent-encoded."""

    index: int  # 0, 1, 2… in the order in which the heads arrived
    method: str
    target: str
    headers: Mapping[str, str]  # names lower-cased
    at: datetime
    body: bytes = b""  # empty while only the head is known
    fault: object = None  # the fault that a plan picked for the head, for use by the handler

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


Handler: TypeAlias = Callable[[Request], Action]
Screen: TypeAlias = Callable[[Request], Action | None]


def utc_now() -> datetime:
    return datetime.now(UTC)


class WireServer:
    """A server that runs `handler` on 127.0.0.1 in an event loop of its own thread, until the context ends.

    `screen` gets each head first, and may return an action before the body is read. `counts` selects the requests for
    `max_in_flight`. `receive_buffer` is the number of bytes that the kernel accepts of a body that the server does not
    read; by default the kernel chooses it, up to tens of megabytes. An exception of a handler is answered with 500, and
    raised at the end of the context.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        screen: Screen = lambda _: None,
        counts: Callable[[Request], bool] = lambda _: True,
        compress: bool = False,
        now: Callable[[], datetime] = utc_now,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        self._tls, self._receive_buffer = tls, receive_buffer
        self._handler, self._screen, self._counts = handler, screen, counts
        self._compress, self._now, self._port = compress, now, port
        self._ready = threading.Event()
        self._connections: dict[asyncio.Task[None], Line] = {}
        self._handler_errors: list[Exception] = []
        self._in_flight = 0
        self._changed = threading.Condition()
        self.count = 0
        self.max_in_flight = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    def wait_until(self, condition: Callable[[], bool], timeout: float = 10) -> bool:
        """Wait for a condition, evaluated when a request is handled and when it ends. Return whether it became true."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", self._port))
        if self._receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        self._port = self._socket.getsockname()[1]  # entering the context again uses the same port
        self._ready.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name=f"wire:{self._port}")
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._handler_errors:
            raise ExceptionGroup("the handler is broken", self._handler_errors)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._on_connect, sock=self._socket, limit=HEAD_LIMIT, ssl=self._tls)
        self._ready.set()
        await self._stop.wait()
        server.close()
        for _ in range(3):  # lets a connection that was just accepted start, so that its task can be cancelled
            await asyncio.sleep(0)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _on_connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer)
        task = self._loop.create_task(self._serve_connection(line))
        self._connections[task] = line
        task.add_done_callback(self._on_disconnect)

    def _on_disconnect(self, task: asyncio.Task[None]) -> None:
        writer = self._connections.pop(task).writer
        # Python 3.13 and later warn about a writer that is collected before its transport closes.
        writer.transport.abort()

    async def _serve_connection(self, line: Line) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._exchange(line):
                pass
            line.writer.close()
            await line.writer.wait_closed()

    async def _exchange(self, line: Line) -> bool:
        """Handle one request, and return whether the connection stays open."""
        request = self._parse(await line.reader.readuntil(b"\r\n\r\n"))
        with self._in_flight_now(request):
            action = self._call(self._screen, request)
            if action is None:
                length = int(request.headers.get("content-length", "0"))
                request.body = await line.reader.readexactly(length)
                action = self._call(self._handler, request)
            if self._compress and isinstance(action, HttpResponse) and accepts_gzip(request):
                action = action.zipped()
            kept = action is not None and await action.perform(line)
        return kept and request.headers.get("connection", "").lower() != "close"

    def _parse(self, head: bytes) -> Request:
        first, *rest = head.decode("latin-1").split("\r\n")[:-2]
        method, target, _version = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        self.count += 1
        return Request(self.count - 1, method, target, headers, self._now())

    def _call(self, handler: Screen, request: Request) -> Action | None:
        try:
            return handler(request)
        except Exception as error:  # noqa: BLE001 - a bug of the fake must fail the test, not only the request
            self._handler_errors.append(error)
            return HttpResponse(500)
        finally:
            self._notify()

    @contextlib.contextmanager
    def _in_flight_now(self, request: Request) -> Iterator[None]:
        counted = int(self._counts(request))
        self._in_flight += counted
        self.max_in_flight = max(self.max_in_flight, self._in_flight)
        try:
            yield
        finally:
            self._in_flight -= counted
            self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()


def accepts_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("accept-encoding", "")
