"""A PutEvents server that is never the bottleneck: it accepts everything, and counts the entries.

The process prints its address, answers each line of its input, and ends with its input. With `record_times`, it also
records when each executionId was accepted, by the clock of `time.perf_counter`, which all processes of a machine share.

    with start_sink() as bus:
        …                 # endpoint_url = bus.url
        bus.accepted_count()
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from tests.benchmarks.line_process import LineProcess, start_module

MAX_ENTRIES = 10
END = b"\r\n\r\n"
LENGTH = b"content-length:"
ENTRY = b'"Detail":'
"""The text that occurs once in an entry, because quotes inside a detail are escaped."""

ID = re.compile(rb'\\"executionId\\":\\"([^"\\]+)')

EVENT_ID = "6daaa0cf-1a3d-aa6c-41b5-{:012x}"


class Sink:
    """The benchmark's handle of the sink."""

    def __init__(self, process: LineProcess) -> None:
        self._process = process
        self.url = process.read()

    def accepted_count(self) -> int:
        """Return the number of accepted entries."""
        return int(self._process.request("taken"))

    def accepted_at(self) -> dict[str, float]:
        """Return when each executionId was first accepted."""
        reply: dict[str, float] = json.loads(self._process.request("accepted"))
        return reply


@contextmanager
def start_sink(*, record_times: bool = False) -> Iterator[Sink]:
    with start_module(__name__, *(["--record-times"] if record_times else [])) as process:
        yield Sink(process)


def answer(content: object) -> bytes:
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


ACCEPTED = [
    answer({"FailedEntryCount": 0, "Entries": [{"EventId": EVENT_ID.format(index)} for index in range(count)]})
    for count in range(MAX_ENTRIES + 1)
]
DESCRIBED = answer({"Name": "bench", "Arn": "arn:aws:events:eu-central-1:123456789012:event-bus/bench"})


class Connection(asyncio.Protocol):
    """A connection with sequential requests. The counters are those of all connections."""

    accepted_count = 0
    record_times = False
    accepted_at: ClassVar[dict[str, float]] = {}

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
                Connection.accepted_count += entries
                if Connection.record_times:
                    self._record_times(time.perf_counter())
                self._transport.write(ACCEPTED[entries])
            del self._buffer[: self._end]
            self._end = 0

    def _record_times(self, now: float) -> None:
        for found in ID.finditer(self._buffer, self._body_at, self._end):
            Connection.accepted_at.setdefault(found[1].decode(), now)

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
        reply = Connection.accepted_at if line.startswith(b"accepted") else Connection.accepted_count
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    Connection.record_times = "--record-times" in sys.argv
    asyncio.run(serve())
