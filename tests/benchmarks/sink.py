"""A PutEvents server that is never the bottleneck: it accepts everything, and counts the entries.

As a process of its own, it prints its address, answers each line of its input with the entries taken so far, and
ends with its input.

    with sink() as bus:
        …                 # endpoint_url = bus.url
        bus.taken()
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.peer import Peer, module

MOST_ENTRIES = 10
END = b"\r\n\r\n"
LENGTH = b"content-length:"
ENTRY = b'"Detail":'
"""Stands once in an entry: quotes inside a detail are escaped."""

EVENT_ID = "6daaa0cf-1a3d-aa6c-41b5-{:012x}"


class Sink:
    """The sink, seen from the benchmark."""

    def __init__(self, process: Peer) -> None:
        self._process = process
        self.url = process.read()

    def taken(self) -> int:
        """Entries since it was started."""
        return int(self._process.ask("taken"))


@contextmanager
def sink() -> Iterator[Sink]:
    with module(__name__) as process:
        yield Sink(process)


def answer(content: object) -> bytes:
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


ACCEPTED = [
    answer({"FailedEntryCount": 0, "Entries": [{"EventId": EVENT_ID.format(index)} for index in range(count)]})
    for count in range(MOST_ENTRIES + 1)
]
DESCRIBED = answer({"Name": "bench", "Arn": "arn:aws:events:eu-central-1:123456789012:event-bus/bench"})


class Connection(asyncio.Protocol):
    """One request after the other. `taken` counts for all connections."""

    taken = 0

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._end = 0
        self._body_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._is_whole():
            if self._buffer.find(b"DescribeEventBus", 0, self._body_at) >= 0:
                self._transport.write(DESCRIBED)
            else:
                entries = self._buffer.count(ENTRY, self._body_at, self._end)
                Connection.taken += entries
                self._transport.write(ACCEPTED[entries])
            del self._buffer[: self._end]
            self._end = 0

    def _is_whole(self) -> bool:
        if not self._end:
            head_end = self._buffer.find(END)
            if head_end < 0:
                return False
            head = bytes(self._buffer[:head_end]).lower()
            at = head.find(LENGTH)
            length = int(head[at + len(LENGTH) :].split(b"\r", 1)[0]) if at >= 0 else 0
            self._body_at = head_end + len(END)
            self._end = self._body_at + length
        return len(self._buffer) >= self._end


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        sys.stdout.write(f"{Connection.taken}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve())
