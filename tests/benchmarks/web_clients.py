"""People with the page open, as one process.

    python -m tests.benchmarks.web_clients http://127.0.0.1:8787 COOKIE

prints `ready`, and answers each line of its input. `watch COUNT` begins with so many who loaded it and follow its
stream of events, as a browser does; `read COUNT PAUSE` with so many without scripts, who wait so many seconds and load
it again. Both answer once each of them has what it asked for first. `rest` ends that, and tells how often something
came.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import ClientSession, ClientTimeout, TCPConnector

from tests.benchmarks.line_process import Peer, module

LARGEST_EVENT = 4 * 1024 * 1024


@contextmanager
def readers(page: str, cookie: str) -> Iterator[Peer]:
    with module(__name__, page, cookie) as process:
        process.read()
        yield process


class Readers:
    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._tasks: list[asyncio.Task[None]] = []
        self.came = 0

    async def begin(self, count: int, pause: float | None) -> None:
        """Follow the stream, or wait so many seconds between two loads."""
        self.came = 0
        begun = [asyncio.Event() for _ in range(count)]
        self._tasks = [
            asyncio.create_task(self._follow(event) if pause is None else self._keep_loading(event, pause))
            for event in begun
        ]
        await asyncio.gather(*(event.wait() for event in begun))

    async def _keep_loading(self, begun: asyncio.Event, pause: float) -> None:
        while True:
            await self._load()
            begun.set()
            await asyncio.sleep(pause)

    async def _follow(self, begun: asyncio.Event) -> None:
        await self._load()
        async with self._session.get("/status/stream", timeout=ClientTimeout(None)) as stream:
            while await stream.content.readuntil(b"\n\n"):
                self.came += 1
                begun.set()

    async def _load(self) -> None:
        async with self._session.get("/", allow_redirects=False) as answer:
            await answer.read()
        assert answer.status == 200, answer.status
        self.came += 1

    async def rest(self) -> int:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return self.came


async def serve(page: str, cookie: str) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print("ready", flush=True)  # noqa: T201  # it speaks in lines
    everyone = TCPConnector(limit=0)
    async with ClientSession(
        page, headers={"Cookie": cookie}, connector=everyone, read_bufsize=LARGEST_EVENT
    ) as session:
        all_of_them = Readers(session)
        while words := (await lines.readline()).decode().split():
            if words[0] in ("watch", "read"):
                await all_of_them.begin(int(words[1]), float(words[2]) if words[0] == "read" else None)
                print("begun", flush=True)  # noqa: T201  # as above
            else:
                print(await all_of_them.rest(), flush=True)  # noqa: T201  # as above


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
