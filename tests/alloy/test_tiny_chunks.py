"""A response in tiny chunks: it does not block other tasks, and the number of tiny chunks has a limit."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from types import SimpleNamespace

import pytest

from forwarder.alloy.http_client import CHUNKS_PER_ITERATION, MAX_UNCHECKED_CHUNKS
from forwarder.errors import SourceUnavailable
from tests.alloy.harness import ids, open_client
from tests.alloy.raw_server import PAGE
from tests.fakes.alloy import MIB

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
TINY = b"1\r\n \r\n"


@contextmanager
def sending(*chunks: bytes, endlessly: bytes = b"") -> Iterator[SimpleNamespace]:
    """Run a server thread that sends as fast as possible to one client."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            for chunk in chunks:
                connection.sendall(chunk)
            while endlessly:
                connection.sendall(endlessly)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve)
        thread.start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()


async def count_turns(turns: list[int]) -> None:
    while True:
        await asyncio.sleep(0)
        turns[0] += 1


async def test_endless_tiny_chunks_end_and_other_tasks_run() -> None:
    turns = [0]
    with sending(HEAD, endlessly=TINY * 10_000) as server:
        async with open_client(server, max_body_bytes=64 * MIB) as client:
            ticking = asyncio.create_task(count_turns(turns))
            with pytest.raises(SourceUnavailable, match="too small"):
                await ids(client)
            ticking.cancel()
    assert turns[0] >= MAX_UNCHECKED_CHUNKS // CHUNKS_PER_ITERATION


async def test_page_in_one_byte_chunks_is_read_and_other_tasks_run() -> None:
    page = PAGE[:-1] + b" " * 50_000 + b"}"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in page)
    turns = [0]
    with sending(HEAD, chunks, b"0\r\n\r\n") as server:
        async with open_client(server) as client:
            ticking = asyncio.create_task(count_turns(turns))
            assert await ids(client) == "e-1"
            ticking.cancel()
    assert turns[0] >= len(page) // CHUNKS_PER_ITERATION


@pytest.mark.parametrize("size", [64, 1000])
async def test_large_page_in_small_chunks_is_read(size: int) -> None:
    """A server that writes value by value makes chunks of this size."""
    page = PAGE[:-1] + b" " * 8_000_000 + b"}"
    chunk = b"%x\r\n%b\r\n"
    pieces = [page[start : start + size] for start in range(0, len(page), size)]
    with sending(HEAD, b"".join(chunk % (len(piece), piece) for piece in pieces), b"0\r\n\r\n") as server:
        async with open_client(server, max_body_bytes=16 * MIB) as client:
            assert await ids(client) == "e-1"
