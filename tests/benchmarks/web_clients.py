"""The readers of the page, in one process.

    python -m tests.benchmarks.web_clients http://127.0.0.1:8787 COOKIE

It prints `ready`, and answers each line of its input. `watch COUNT` starts readers that load the page and follow its
event stream, as a browser does. `read COUNT PAUSE` starts readers that load the page again after a pause in seconds.
Both answer after the first response to each reader. `stop` stops the readers, and answers with the number of responses
and events.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import ClientSession, ClientTimeout, TCPConnector

from tests.benchmarks.line_process import LineProcess, start_module

MAX_EVENT_BYTES = 4 * 1024 * 1024


@contextmanager
def readers(page: str, cookie: str) -> Iterator[LineProcess]:
    with start_module(__name__, page, cookie) as process:
        process.read()
        yield process


class Readers:
    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._tasks: list[asyncio.Task[None]] = []
        self.received = 0

    async def start(self, count: int, pause: float | None) -> None:
        """Start readers that follow the stream, or wait so many seconds between two loads."""
        self.received = 0
        started = [asyncio.Event() for _ in range(count)]
        self._tasks = [
            asyncio.create_task(self._follow(event) if pause is None else self._keep_loading(event, pause))
            for event in started
        ]
        await asyncio.gather(*(event.wait() for event in started))

    async def _keep_loading(self, started: asyncio.Event, pause: float) -> None:
        while True:
            await self._load()
            started.set()
            await asyncio.sleep(pause)

    async def _follow(self, started: asyncio.Event) -> None:
        await self._load()
        async with self._session.get("/status/stream", timeout=ClientTimeout(None)) as stream:
            while await stream.content.readuntil(b"\n\n"):
                self.received += 1
                started.set()

    async def _load(self) -> None:
        async with self._session.get("/", allow_redirects=False) as answer:
            await answer.read()
        assert answer.status == 200, answer.status
        self.received += 1

    async def stop(self) -> int:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return self.received


async def serve(page: str, cookie: str) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print("ready", flush=True)  # noqa: T201  # stdout is the protocol
    connector = TCPConnector(limit=0)
    async with ClientSession(
        page, headers={"Cookie": cookie}, connector=connector, read_bufsize=MAX_EVENT_BYTES
    ) as session:
        readers_ = Readers(session)
        while words := (await lines.readline()).decode().split():
            if words[0] in ("watch", "read"):
                await readers_.start(int(words[1]), float(words[2]) if words[0] == "read" else None)
                print("started", flush=True)  # noqa: T201  # as above
            else:
                print(await readers_.stop(), flush=True)  # noqa: T201  # as above


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
