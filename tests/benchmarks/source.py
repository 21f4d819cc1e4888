"""A logs API that is never the bottleneck: it assembles pages from rendered records.

The process prints its address, answers each line of its input with the number of pages sent, and ends with its input.
Feed number N of the `feeds` is workflow `w-N`. Each lists `depth` executions of about `size` bytes, newest first. One
in `failing` failed: with 1 all, with 0 none.

    with start_source(feeds=200, depth=500, failing=1) as api:
        …                 # base_url = api.url
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs, urlsplit

from tests.benchmarks.line_process import LineProcess, start_module
from tests.benchmarks.pages import NEWEST, record

END = b"\r\n\r\n"
ID_PLACEHOLDER = "{id}"


class Source:
    """The benchmark's handle of the logs API."""

    def __init__(self, process: LineProcess, feeds: int) -> None:
        self._process = process
        self.url = process.read()
        self.workflows = [f"w-{number}" for number in range(feeds)]

    def pages(self) -> int:
        """Return the number of pages sent."""
        return int(self._process.request("pages"))


@contextmanager
def start_source(
    *, feeds: int, depth: int, failing: int = 1, size: int = 2048, spacing_seconds: int = 1
) -> Iterator[Source]:
    options = {"feeds": feeds, "depth": depth, "failing": failing, "size": size, "spacing-seconds": spacing_seconds}
    with start_module(__name__, *(f"--{name}={value}" for name, value in options.items())) as process:
        yield Source(process, feeds)


class Listing:
    """The records of every feed. Only the ids differ between feeds."""

    def __init__(self, depth: int, failing: int, size: int, spacing: timedelta) -> None:
        self._parts: list[tuple[bytes, bytes]] = []
        for number in range(depth):
            failed = failing > 0 and number % failing == failing // 2
            text = record(ID_PLACEHOLDER, size=size, failed=failed, started=NEWEST - number * spacing)
            before, _, after = text.partition(ID_PLACEHOLDER.encode())
            self._parts.append((before, after))

    def page(self, workflow: str, page: int, limit: int) -> bytes:
        first = page * limit
        records = [
            b"%b%b-%06d%b" % (before, workflow.encode(), first + index, after)
            for index, (before, after) in enumerate(self._parts[first : first + limit])
        ]
        return b'{"data":[%b]}' % b",".join(records)


class Connection(asyncio.Protocol):
    """A connection with sequential requests. `pages` counts those of all connections."""

    listing: Listing
    pages = 0

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while END in self._buffer:
            head, _, self._buffer = self._buffer.partition(END)
            where = urlsplit(head.split(b" ", 2)[1].decode())
            query = parse_qs(where.query)
            workflow = where.path.split("/")[-2]
            body = self.listing.page(workflow, int(query["page"][0]), int(query["limit"][0]))
            Connection.pages += 1
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %b\r\nContent-Length: %d\r\n\r\n%b"
                % (format_datetime(datetime.now(UTC), usegmt=True).encode(), len(body), body)
            )


async def serve(listing: Listing) -> None:
    Connection.listing = listing
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        sys.stdout.write(f"{Connection.pages}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("feeds", "depth", "failing", "size", "spacing-seconds"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(
        serve(Listing(options.depth, options.failing, options.size, timedelta(seconds=options.spacing_seconds)))
    )
