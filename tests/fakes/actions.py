"""The actions of a server on a request: a response, or a failure as in real networks.

Each action is performed on a `Line`, and returns whether the connection may be used again.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: close() sends RST instead of FIN
KNOWN_STATUSES: Final = frozenset(HTTPStatus)


@dataclass(frozen=True, slots=True)
class Line:
    """A connection to one client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.writer.transport.abort()

    async def hangs_up(self, *, within: float) -> bool:
        """Wait for so many seconds, and return whether the client closed the connection meanwhile."""
        try:
            async with asyncio.timeout(within):
                return not await self.reader.read(1)
        except TimeoutError:
            return False


class Action(ABC):
    @abstractmethod
    async def perform(self, line: Line) -> bool: ...


@dataclass(frozen=True)
class HttpResponse(Action):
    """A complete and correct response."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    async def perform(self, line: Line) -> bool:
        await line.send(self.head() + self.body)
        return True

    def head(self, framing: str = "") -> bytes:
        """Return the status line and the headers, with `framing` instead of the correct Content-Length if given."""
        phrase = HTTPStatus(self.status).phrase if self.status in KNOWN_STATUSES else "Unknown"
        lines = [f"HTTP/1.1 {self.status} {phrase}", framing or f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def zipped(self) -> HttpResponse:
        headers = {**self.headers, "Content-Encoding": "gzip"}
        return replace(self, headers=headers, body=gzip.compress(self.body, mtime=0))


@dataclass(frozen=True)
class ResetBefore(Action):
    """RST before the body is read. The server's `screen`, which gets the head alone, must return it."""

    async def perform(self, line: Line) -> bool:
        line.reset()
        return False


@dataclass(frozen=True)
class ResetAfter(Action):
    """RST after the whole request was read, without a byte of a response."""

    async def perform(self, line: Line) -> bool:
        line.reset()
        return False


@dataclass(frozen=True)
class Hang(Action):
    """Silence, and then the action `then` or an orderly close. It ends as soon as the client closes the connection."""

    seconds: float
    then: Action | None = None

    async def perform(self, line: Line) -> bool:
        if await line.hangs_up(within=self.seconds) or self.then is None:
            return False
        return await self.then.perform(line)


@dataclass(frozen=True)
class Held(Action):
    """Silence until a test sets `released`, and then the action `then`. It ends as soon as the client hangs up."""

    released: threading.Event
    then: Action

    async def perform(self, line: Line) -> bool:
        while not self.released.is_set():
            if await line.hangs_up(within=0.1):
                return False
        return await self.then.perform(line)


@dataclass(frozen=True)
class Slow(Action):
    """The response, including its head, at a limited rate."""

    answer: HttpResponse
    bytes_per_second: float

    async def perform(self, line: Line) -> bool:
        size = max(1, int(self.bytes_per_second / 20))
        first, *rest = pieces(self.answer.head() + self.answer.body, size)
        await line.send(first)
        for drop in rest:
            if await line.hangs_up(within=size / self.bytes_per_second):
                return False
            await line.send(drop)
        return True


@dataclass(frozen=True)
class Cut(Action):
    """The first `at` bytes of the body under the Content-Length of the whole, then an orderly close, or RST."""

    answer: HttpResponse
    at: int
    reset: bool = False

    async def perform(self, line: Line) -> bool:
        await line.send(self.answer.head() + self.answer.body[: self.at])
        if self.reset:
            line.reset()
        return False


@dataclass(frozen=True)
class WrongLength(Action):
    """The whole body under a Content-Length that is wrong by `delta`. The connection stays open.

    With a length that is too large the client waits. With one that is too small, the rest precedes the next response.
    """

    answer: HttpResponse
    delta: int

    async def perform(self, line: Line) -> bool:
        promise = f"Content-Length: {len(self.answer.body) + self.delta}"
        await line.send(self.answer.head(promise) + self.answer.body)
        return True


@dataclass(frozen=True)
class Chunked(Action):
    """The response in chunks of `size` bytes. With `ends` false, the connection closes before the last chunk."""

    answer: HttpResponse
    size: int = 1024
    ends: bool = True

    async def perform(self, line: Line) -> bool:
        await line.send(self.answer.head("Transfer-Encoding: chunked"))
        for chunk in pieces(self.answer.body, self.size):
            await line.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        if self.ends:
            await line.send(b"0\r\n\r\n")
        return self.ends


@dataclass(frozen=True)
class Raw(Action):
    """Any bytes and a close, for responses that are not HTTP."""

    data: bytes

    async def perform(self, line: Line) -> bool:
        await line.send(self.data)
        return False


@dataclass(frozen=True)
class Endless(Action):
    """A head, then the same bytes until the client closes the connection."""

    head: bytes
    repeated: bytes
    pause_seconds: float = 0

    async def perform(self, line: Line) -> bool:
        await line.send(self.head)
        while not line.writer.is_closing():
            await line.send(self.repeated)
            if self.pause_seconds:
                await asyncio.sleep(self.pause_seconds)
        return False


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
