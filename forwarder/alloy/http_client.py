"""The HTTP client of the logs API: request rate, concurrency, time limits and errors."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlencode

import httpx
from pydantic import SecretStr

from forwarder import __version__, heartbeat
from forwarder.alloy.connections import Connections
from forwarder.alloy.response_body import BoundedBody
from forwarder.alloy.responses import ApiResponse, error_for_status, retry_after
from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.errors import SourceUnavailable
from forwarder.metrics import Metrics
from forwarder.rate_limit import RateLimiter, UsageMeter
from forwarder.redaction import REDACTED
from forwarder.settings.sections import SourceSettings

MAX_TIMEOUTS = 10
"""The time limit of a whole request, as a multiple of `source.timeout`. It ends a response that arrives slowly."""

CHUNKS_PER_ITERATION = 64
"""The number of chunks after which other tasks run. httpx returns all chunks of one read without a pause."""

MAX_UNCHECKED_CHUNKS = 100_000
MIN_CHUNK_BYTES = 32
"""The mean size that chunks must have after MAX_UNCHECKED_CHUNKS. Each chunk costs time, however small it is."""

MIN_REMOVED_KEY_CHARACTERS = 8
"""The least length of a key that is removed from responses. A shorter one may be part of any text."""

MAX_PAUSE_SECONDS = 3600.0
"""The longest pause. If an API requests a longer one, such as a day, the next request is sent after this time."""


class RequestThrottle:
    """The request rate of one client. It spaces requests evenly, and pauses all of them when the API asks for it."""

    def __init__(self, clock: Clock, requests_per_second: float, metrics: Metrics | None = None) -> None:
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._rate_limiter = RateLimiter(clock, interval_seconds=1 / requests_per_second)
        self._usage = UsageMeter(clock)
        self._requests_per_second = requests_per_second
        self._metrics.set_request_budget(lambda: self._usage.requests_per_second / self._requests_per_second)
        self._paused_until = 0.0
        self._backoff = Backoff(base=1.0, cap=60.0, floor=0.5)

    def limit(self, requests_per_second: float) -> None:
        """Change the rate limit. Several processes that share a limit each have a part of it."""
        self._requests_per_second = requests_per_second
        self._rate_limiter.set_interval(1 / requests_per_second)

    async def acquire(self) -> None:
        """Wait until the rate limit allows a request, and use it. If a pause begins meanwhile, wait for its end too."""
        while True:
            heartbeat.beat()
            now = self._clock.monotonic()
            allowed_at = self._rate_limiter.take()
            if allowed_at > now:
                heartbeat.beat(allowed_at - now)
                await self._clock.sleep(allowed_at - now)
            if self._paused_until <= allowed_at:
                self._usage.count()
                return

    def pause(self, seconds: float) -> float:
        """Pause all requests for `seconds`, or for the next step of the backoff if `seconds` is 0.

        Return the length of the pause in seconds, at most MAX_PAUSE_SECONDS.
        """
        now = self._clock.monotonic()
        if seconds <= 0:
            # All requests in flight are refused together, which is one step: their number says nothing about the limit.
            seconds = self.pause_seconds or self._backoff.next()
        seconds = min(seconds, MAX_PAUSE_SECONDS)
        until = max(self._paused_until, now + seconds)
        # Requests in flight together are paused together, which is counted once.
        self._metrics.count_rate_limited(until - max(self._paused_until, now))
        self._paused_until = until
        self._rate_limiter.block_until(until)
        return seconds

    @property
    def pause_seconds(self) -> float:
        """Return the time until the end of the current pause, or 0 outside of a pause."""
        return max(0.0, self._paused_until - self._clock.monotonic())

    def record_success(self) -> None:
        """Reset the backoff: the next pause without a given length is short again."""
        self._backoff.reset()


class HttpClient:
    """A client that limits concurrency and request rate by the settings. Each request in flight has a connection."""

    def __init__(self, settings: SourceSettings, key: SecretStr, clock: Clock, metrics: Metrics) -> None:
        self._settings = settings
        self._key = key
        self._clock = clock
        self._metrics = metrics
        self.throttle = RequestThrottle(clock, settings.requests_per_second, metrics)
        self._timeout_seconds = settings.timeout.total_seconds()
        self._slots = asyncio.Semaphore(settings.concurrency)

    async def __aenter__(self) -> Self:
        """Raise SourceUnavailable if the address or a proxy of the environment cannot be used."""
        version = f"/{self._settings.version}" if self._settings.version else ""
        try:
            server = httpx.URL(f"{self._settings.base_url}{version}/")
        except (ValueError, httpx.InvalidURL):
            raise SourceUnavailable(
                "[source] base_url is not an address", hint="set it to the https address of the logs API"
            ) from None
        self._connections = Connections(
            server, headers=self._common_headers(), count=self._settings.concurrency, seconds=self._timeout_seconds
        )
        await self._connections.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._connections.__aexit__(exc_type, error, traceback)

    async def request(self, method: str, path: str, query: Mapping[str, Any]) -> ApiResponse:
        """Send a request, and return the response. `path` begins after the version, and is percent-encoded.

        Raise SourceUnavailable if there is no response, and the error of `_check_status` for a status that concerns all
        requests.
        """
        await self._acquire_slot()
        status = None
        try:
            await self.throttle.acquire()
            async with asyncio.timeout(MAX_TIMEOUTS * self._timeout_seconds):
                target = f"{path}?{urlencode(query)}" if query else path
                response = await self._connections.fetch(method, target, self._read)
            status = response.status
        except TimeoutError:
            raise SourceUnavailable("the logs API did not respond in time") from None
        except httpx.HTTPError as error:
            raise self._connections.failure(error) from None
        finally:
            self._slots.release()
            self._metrics.count_response(status)
        self._check_status(response)
        return response

    async def _acquire_slot(self) -> None:
        """Wait for one of the `source.concurrency` slots. Send heartbeats, because a pause can last an hour."""
        while self._slots.locked():
            heartbeat.beat(heartbeat.INTERVAL_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(heartbeat.INTERVAL_SECONDS):
                    await self._slots.acquire()
                    return
        await self._slots.acquire()

    async def _read(self, response: httpx.Response) -> ApiResponse:
        body = BoundedBody(self._settings.max_body_bytes, response.headers.get("content-encoding", ""))
        chunks = raw_bytes = 0
        # The stream is the raw body of the response. The caller closes the response.
        async for chunk in cast("httpx.AsyncByteStream", response.stream):
            body.add(chunk)
            chunks += 1
            raw_bytes += len(chunk)
            if chunks % CHUNKS_PER_ITERATION == 0:
                await asyncio.sleep(0)
                if chunks > MAX_UNCHECKED_CHUNKS + raw_bytes // MIN_CHUNK_BYTES:
                    raise SourceUnavailable("the logs API sends its response in pieces that are too small to read")
        return ApiResponse(response.status_code, response.headers, self._without_key(body.finish()))

    def _without_key(self, body: bytes) -> bytes:
        """Return the body without the key, which an error may quote in any words, and a workflow may list."""
        key = self._key.get_secret_value()
        if len(key) < MIN_REMOVED_KEY_CHARACTERS:
            return body
        for form in (key, key.replace("/", r"\/")):  # some encoders of JSON escape slashes
            body = body.replace(form.encode(), REDACTED.encode())
        return body

    def _check_status(self, response: ApiResponse) -> None:
        """Raise SourceError for a status that concerns every request. Pause all requests if the API asks for it."""
        wait = retry_after(response.headers, self._clock.now())
        # Some APIs limit their rate with 403. A refusal of the key names no time at which it ends.
        is_rate_limit = response.status == httpx.codes.FORBIDDEN and response.is_json
        can_wait = is_rate_limit or httpx.codes.is_server_error(response.status)
        if response.status == httpx.codes.TOO_MANY_REQUESTS or (wait > 0 and can_wait):
            pause_seconds = self.throttle.pause(wait)
            raise SourceUnavailable(
                f"the logs API limits the request rate ({response.status})", retry_after=pause_seconds
            )
        if error := error_for_status(response):
            raise error
        self.throttle.record_success()

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
