"""The readers of the page, in one process.

    python -m tests.benchmarks.web_clients http://127.0.0.1:8787 COOKIE…

Each session has at most READERS_OF_SESSION readers, as many as the web UI allows.

It prints `ready`, and answers each line of its input. `watch COUNT` starts readers that load the page and follow its
event stream, as a browser does. `read COUNT PAUSE` starts readers that load the page again after a pause in seconds.
Both answer after the first response to each reader. `stop` stops the readers, and answers with the number of responses
and events.
"""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from tests.benchmarks.line_process import LineProcess, start_module

READERS_OF_SESSION = 8

MAX_EVENT_BYTES = 4 * 1024 * 1024


@contextmanager
def readers(page: str, cookies: Sequence[str]) -> Iterator[LineProcess]:
    with start_module(__name__, page, *cookies) as process:
        process.read()
        yield process


class Readers:
    def __init__(self, session: ClientSession, cookies: Sequence[str]) -> None:
        self._session = session
        self._cookies = cookies
        self._tasks: list[asyncio.Task[None]] = []
        self.received = 0

    async def start(self, count: int, pause: float | None) -> None:
        """Start readers that follow the stream, or wait so many seconds between two loads."""
        self.received = 0
        started = [asyncio.Event() for _ in range(count)]
        self._tasks = [
            asyncio.create_task(
                self._follow(event, cookie) if pause is None else self._keep_loading(event, pause, cookie)
            )
            for event, cookie in zip(started, cycle(self._cookies), strict=False)
        ]
        await asyncio.gather(*(event.wait() for event in started))

    async def _keep_loading(self, started: asyncio.Event, pause: float, cookie: str) -> None:
        while True:
            await self._load(cookie)
            started.set()
            await asyncio.sleep(pause)

    async def _follow(self, started: asyncio.Event, cookie: str) -> None:
        await self._load(cookie)
        headers = {"Cookie": cookie}
        async with self._session.get("/status/stream", timeout=ClientTimeout(None), headers=headers) as stream:
            assert stream.status == 200, stream.status
            while await stream.content.readuntil(b"\n\n"):
                self.received += 1
                started.set()

    async def _load(self, cookie: str) -> None:
        async with self._session.get("/", allow_redirects=False, headers={"Cookie": cookie}) as answer:
            await answer.read()
        assert answer.status == 200, answer.status
        self.received += 1

    async def stop(self) -> int:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return self.received


async def serve(page: str, *cookies: str) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print("ready", flush=True)  # noqa: T201  # stdout is the protocol
    connector = TCPConnector(limit=0)
    async with ClientSession(
        page, cookie_jar=DummyCookieJar(), connector=connector, read_bufsize=MAX_EVENT_BYTES
    ) as session:
        readers_ = Readers(session, cookies)
        while words := (await lines.readline()).decode().split():
            if words[0] in ("watch", "read"):
                await readers_.start(int(words[1]), float(words[2]) if words[0] == "read" else None)
                print("started", flush=True)  # noqa: T201  # as above
            else:
                print(await readers_.stop(), flush=True)  # noqa: T201  # as above


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
