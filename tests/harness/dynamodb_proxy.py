"""A proxy between a client and DynamoDB that throttles, delays, refuses and loses replies, as a plan decides.

Each process of a test has a proxy of its own, so that a fault hits one process only, and so that a process that was
killed can send nothing more.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import format_datetime
from types import TracebackType
from typing import Any, Self

from tests.harness.dynamodb_faults import BATCH_GET, Plan, Request, execute

MAX_HEADER_BYTES = 64 * 1024


class _Upstream:
    """A connection to the emulator, which closes it when it is idle for some seconds."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: bytes) -> tuple[bytes, bytes]:
        if self._streams is None or self._streams[0].at_eof():
            self.close()
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        return await _message(reader)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


@dataclass
class DynamoProxy:
    """A proxy on loopback. Use it with `async with`. `plan` may be replaced at any time."""

    upstream_port: int
    plan: Plan = execute
    count: int = 0
    """The number of requests that have arrived."""
    on_reply: Callable[[Request, int], None] = lambda _request, _status: None
    """Called with each request that the emulator has executed or refused, and the status of its reply."""
    _running: asyncio.Event = field(default_factory=asyncio.Event)
    _connections: set[asyncio.StreamWriter] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._running.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=MAX_HEADER_BYTES)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in list(self._connections):
            writer.transport.abort()
        await self._server.wait_closed()

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def freeze(self) -> None:
        """Hold all requests until `thaw`, without a reply."""
        self._running.clear()

    def thaw(self) -> None:
        self._running.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        upstream = _Upstream(self.upstream_port)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while reply := await self._exchange(reader, upstream):
                    writer.write(reply)
                    await writer.drain()
        finally:
            self._connections.discard(writer)
            writer.close()
            upstream.close()

    async def _exchange(self, reader: asyncio.StreamReader, upstream: _Upstream) -> bytes:
        """Receive one request and treat it. Return the reply, or nothing if the connection is to be closed."""
        head, body = await _message(reader)
        self.count += 1
        operation = _header(head, b"x-amz-target").rpartition(b".")[2].decode()
        request = Request(self.count, operation, body)
        fault = self.plan(request)
        await asyncio.sleep(fault.delay_seconds)
        if fault.waits_for is not None:
            await fault.waits_for.wait()
        await self._running.wait()
        if fault.loses_request:
            return b""
        if fault.refusal is not None:
            status, code = fault.refusal
            answer = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "as planned"}
            return _reply(status, json.dumps(answer).encode())
        if fault.page is not None:
            return _reply(*fault.page)
        unprocessed: dict[str, Any] = {}
        if fault.is_partial and operation == BATCH_GET:
            body, unprocessed = _halved(request.values)
        reply_head, reply_body = await upstream.exchange(
            _with_header(head, b"content-length", b"%d" % len(body)) + body
        )
        self.on_reply(request, int(reply_head.split(b" ", 2)[1]))
        if fault.loses_reply:
            return b""
        if fault.date is not None:
            reply_head = _with_header(reply_head, b"date", format_datetime(fault.date, usegmt=True).encode())
        if unprocessed:
            return _reply(200, json.dumps(json.loads(reply_body) | {"UnprocessedKeys": unprocessed}).encode())
        return reply_head + reply_body


def _halved(values: Any) -> tuple[bytes, dict[str, Any]]:
    """Return a BatchGetItem for the first half of its keys, at least one, and the others as unprocessed keys."""
    ((table, wanted),) = values["RequestItems"].items()
    keys = wanted["Keys"]
    middle = max(1, len(keys) // 2)
    values["RequestItems"] = {table: wanted | {"Keys": keys[:middle]}}
    left = keys[middle:]
    return json.dumps(values).encode(), {table: wanted | {"Keys": left}} if left else {}


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    return head, await reader.readexactly(int(_header(head, b"content-length") or 0))


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    return b""


def _with_header(head: bytes, name: bytes, value: bytes) -> bytes:
    lines = [line for line in head.split(b"\r\n")[:-2] if not line.lower().startswith(name + b":")]
    return b"\r\n".join([*lines, name + b": " + value, b"", b""])


def _reply(status: int, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status} planned\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
