"""People with the page open, as one process: each loads it, waits, and loads it again.

    python -m tests.benchmarks.readers http://127.0.0.1:8787 COOKIE

prints `ready`, and answers each line of its input. `read COUNT PAUSE` begins with so many readers who wait so many
seconds between two loads, once each of them has loaded it; `rest` ends that, and tells how often it was loaded.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import ClientSession, TCPConnector

from tests.benchmarks.peer import Peer, module


@contextmanager
def readers(page: str, cookie: str) -> Iterator[Peer]:
    with module(__name__, page, cookie) as process:
        process.read()
        yield process


class Readers:
    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._tasks: list[asyncio.Task[None]] = []
        self.loads = 0

    async def read(self, count: int, pause: float) -> None:
        self.loads = 0
        begun = [asyncio.Event() for _ in range(count)]
        self._tasks = [asyncio.create_task(self._keep_loading(event, pause)) for event in begun]
        await asyncio.gather(*(event.wait() for event in begun))

    async def _keep_loading(self, begun: asyncio.Event, pause: float) -> None:
        while True:
            async with self._session.get("/", allow_redirects=False) as answer:
                await answer.read()
            assert answer.status == 200, answer.status
            self.loads += 1
            begun.set()
            await asyncio.sleep(pause)

    async def rest(self) -> int:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return self.loads


async def serve(page: str, cookie: str) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print("ready", flush=True)  # noqa: T201  # it speaks in lines
    async with ClientSession(page, headers={"Cookie": cookie}, connector=TCPConnector(limit=0)) as session:
        all_of_them = Readers(session)
        while words := (await lines.readline()).decode().split():
            if words[0] == "read":
                await all_of_them.read(int(words[1]), float(words[2]))
                print("reading", flush=True)  # noqa: T201  # as above
            else:
                print(await all_of_them.rest(), flush=True)  # noqa: T201  # as above


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
