"""One request to the logs API: how often, how long and how many at once."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlencode

import httpx
from pydantic import SecretStr

from forwarder import __version__
from forwarder.alloy.body import BoundedBody
from forwarder.alloy.connections import Connections
from forwarder.alloy.pace import Pace
from forwarder.alloy.responses import Answer, general_failure, retry_after
from forwarder.clock import Clock
from forwarder.errors import SourceUnavailable
from forwarder.metrics import Metrics
from forwarder.settings.fields import SourceSettings

# A request whose bytes trickle is given up after this many of its time-outs.
PATIENCE = 10

LOOK_EVERY = 60.0

CHUNKS_PER_TURN = 64
"""Chunks that are read before other tasks get a turn: httpx hands on all that one read brought without a pause."""

FREE_CHUNKS = 100_000
MIN_CHUNK_BYTES = 32
"""The mean that a body's chunks must have beyond the first ones. Each costs time, however small it is."""


class Asker:
    """Sends as many requests at once as the settings allow, each on a connection of its own, evenly spaced."""

    def __init__(self, settings: SourceSettings, key: SecretStr, clock: Clock, metrics: Metrics) -> None:
        self._settings = settings
        self._key = key
        self._clock = clock
        self._metrics = metrics
        self._pace = Pace(clock, settings.requests_per_second, metrics)
        self._seconds = settings.timeout.total_seconds()
        self._free = asyncio.Semaphore(settings.concurrency)

    async def __aenter__(self) -> Self:
        """Raise SourceUnavailable if the address or a proxy of the environment cannot be used."""
        version = f"/{self._settings.version}" if self._settings.version else ""
        try:
            server = httpx.URL(f"{self._settings.base_url}{version}/")
        except (ValueError, httpx.InvalidURL):
            raise SourceUnavailable("[source] base_url is no address", hint="correct it") from None
        self._connections = Connections(
            server, headers=self._common_headers(), count=self._settings.concurrency, seconds=self._seconds
        )
        await self._connections.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connections.__aexit__(kind, error, trace)

    async def ask(self, method: str, path: str, query: Mapping[str, Any]) -> Answer:
        """`path` is below the version, and quoted. Raises SourceError."""
        await self._wait_for_a_free_one()
        status = None
        try:
            await self._pace.turn()
            async with asyncio.timeout(PATIENCE * self._seconds):
                target = f"{path}?{urlencode(query)}" if query else path
                answer = await self._connections.fetch(method, target, self._read)
            status = answer.status
        except TimeoutError:
            raise SourceUnavailable("the logs API did not answer in time") from None
        except httpx.HTTPError as error:
            raise self._connections.failure(error) from None
        finally:
            self._free.release()
            self._metrics.answered(status)
        self._heed(answer)
        return answer

    async def _wait_for_a_free_one(self) -> None:
        """All may wait as the API asked. A task that waits for them is not stalled, and reads the clock to show it."""
        while self._free.locked():
            self._clock.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._free.acquire()
                    return
        await self._free.acquire()

    async def _read(self, response: httpx.Response) -> Answer:
        body = BoundedBody(self._settings.max_body_bytes, response.headers.get("content-encoding", ""))
        chunks = raw_bytes = 0
        # The stream is the response's raw body. Its end does not close the response, which is the caller's to do.
        async for chunk in cast("httpx.AsyncByteStream", response.stream):
            body.add(chunk)
            chunks += 1
            raw_bytes += len(chunk)
            if chunks % CHUNKS_PER_TURN == 0:
                await asyncio.sleep(0)
                if chunks > FREE_CHUNKS + raw_bytes // MIN_CHUNK_BYTES:
                    raise SourceUnavailable("the logs API sends its answer in pieces that are too small to read")
        return Answer(response.status_code, response.headers, body.whole())

    def _heed(self, answer: Answer) -> None:
        """Raise for a status that concerns every request, and slow all of them if the API asks for it."""
        wait = retry_after(answer.headers, self._clock.now())
        # Some APIs limit their rate with 403. A refusal of the key names no time at which it ends.
        is_limit = answer.status == httpx.codes.FORBIDDEN and answer.is_json
        can_wait = is_limit or httpx.codes.is_server_error(answer.status)
        if answer.status == httpx.codes.TOO_MANY_REQUESTS or (wait > 0 and can_wait):
            paused = self._pace.pause(wait)
            raise SourceUnavailable(f"the logs API told us to wait ({answer.status})", retry_after=paused)
        if error := general_failure(answer):
            raise error
        self._pace.answered()

    def _common_headers(self) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Cache-Control": "no-cache",  # a cached page hides what failed since it was stored
            "Authorization": f"bearer {self._key.get_secret_value()}",
            "User-Agent": f"forwarder/{__version__}",
        }
        if self._settings.version_header:
            headers["x-api-version"] = self._settings.version_header
        return headers
