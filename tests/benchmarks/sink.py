"""A PutEvents server that is never the bottleneck: it accepts everything, and counts the entries.

As a process of its own, it prints its address, answers each line of its input, and ends with its input. `taken` are the
entries so far; one that is `noting` also tells of each executionId when it was accepted, on the clock that
`time.perf_counter` reads in every process of a machine.

    with sink() as bus:
        …                 # endpoint_url = bus.url
        bus.taken()
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from tests.benchmarks.line_process import Peer, module

MOST_ENTRIES = 10
END = b"\r\n\r\n"
LENGTH = b"content-length:"
ENTRY = b'"Detail":'
"""Stands once in an entry: quotes inside a detail are escaped."""

ID = re.compile(rb'\\"executionId\\":\\"([^"\\]+)')

EVENT_ID = "6daaa0cf-1a3d-aa6c-41b5-{:012x}"


class Sink:
    """The sink, seen from the benchmark."""

    def __init__(self, process: Peer) -> None:
        self._process = process
        self.url = process.read()

    def taken(self) -> int:
        """Entries since it was started."""
        return int(self._process.ask("taken"))

    def accepted(self) -> dict[str, float]:
        """When each executionId was accepted first."""
        told: dict[str, float] = json.loads(self._process.ask("accepted"))
        return told


@contextmanager
def sink(*, noting: bool = False) -> Iterator[Sink]:
    with module(__name__, *(["--noting"] if noting else [])) as process:
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
    """One request after the other. What it counts, it counts for all connections."""

    taken = 0
    noting = False
    accepted: ClassVar[dict[str, float]] = {}

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
                if Connection.noting:
                    self._note(time.perf_counter())
                self._transport.write(ACCEPTED[entries])
            del self._buffer[: self._end]
            self._end = 0

    def _note(self, now: float) -> None:
        for found in ID.finditer(self._buffer, self._body_at, self._end):
            Connection.accepted.setdefault(found[1].decode(), now)

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
    while line := await lines.readline():
        told = Connection.accepted if line.startswith(b"accepted") else Connection.taken
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    Connection.noting = "--noting" in sys.argv
    asyncio.run(serve())
