"""One request to the logs API: how often, how long and how many at once, and what kept an answer from coming."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode
from urllib.request import getproxies

import httpx
from pydantic import SecretStr

from forwarder import __version__
from forwarder.alloy.body import BoundedBody
from forwarder.alloy.pace import Pace
from forwarder.alloy.transport import DirectTransport
from forwarder.clock import Clock
from forwarder.errors import SourceRefused, SourceUnavailable
from forwarder.metrics import Metrics
from forwarder.settings.fields import SourceSettings

# A request whose bytes trickle is given up after this many of its time-outs.
PATIENCE = 10

LOOK_EVERY = 60.0

METHODS = ("GET", "POST")

Send = Callable[[str, str], Awaitable[httpx.Response]]
"""Sends a method and what it is for, below the version and quoted: once, on a connection that is free. It follows no
redirect and keeps no cookie. Whoever has the response reads and closes it.
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """Any but those that stop every request alike."""

    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)

    @property
    def date(self) -> datetime | None:
        return _http_date(self.headers.get("date", ""))


class Asker:
    """Sends as many requests at once as the settings allow, each on a connection of its own, evenly spaced."""

    def __init__(self, settings: SourceSettings, key: SecretStr, clock: Clock, metrics: Metrics) -> None:
        self._settings = settings
        self._key = key
        self._clock = clock
        self._metrics = metrics
        self._pace = Pace(clock, settings.requests_per_second, metrics)
        self._seconds = settings.timeout.total_seconds()
        self._free: asyncio.LifoQueue[Send] = asyncio.LifoQueue()
        self._open = AsyncExitStack()
        version = f"/{settings.version}" if settings.version else ""
        self._base = f"{settings.base_url}{version}/"

    async def __aenter__(self) -> Self:
        """Raises SourceUnavailable where the environment names certificates or proxies that cannot be used."""
        try:
            self._server = httpx.URL(self._base)
            self._headers = httpx.Headers(self._told_with_each())
            # What requests have in common is made once, and not anew for every page.
            alike = {method: httpx.Request(method, self._server, headers=self._headers) for method in METHODS}
            self._raw_headers = {method: request.headers.raw for method, request in alike.items()}
            trust = ssl.create_default_context()
            trust.set_alpn_protocols(["http/1.1"])
            for _ in range(self._settings.concurrency):
                self._free.put_nowait(await self._connection(trust))
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:  # httpx imports what SOCKS takes
            await self._open.aclose()
            why = f"the client of the logs API cannot be made: {type(error).__name__}"
            raise SourceUnavailable(why, hint="check the proxy and SSL_CERT_* variables") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def _connection(self, trust: ssl.SSLContext) -> Send:
        if not any(getproxies().get(scheme) for scheme in ("http", "https", "all")):
            transport = DirectTransport(self._server, trust, self._seconds)
            return partial(self._directly, await self._open.enter_async_context(transport))
        limits = httpx.Limits(max_connections=1)
        client = httpx.AsyncClient(timeout=self._seconds, limits=limits, verify=trust, follow_redirects=False)
        return partial(self._by_proxy, await self._open.enter_async_context(client))

    async def _directly(self, transport: DirectTransport, method: str, asked: str) -> httpx.Response:
        target = self._server.raw_path + asked.encode("ascii")
        return await transport.send(method, target, self._raw_headers[method])

    async def _by_proxy(self, client: httpx.AsyncClient, method: str, asked: str) -> httpx.Response:
        request = httpx.Request(method, f"{self._base}{asked}", headers=self._headers)
        return await client.send(request, stream=True)

    async def ask(self, method: str, path: str, query: Mapping[str, Any]) -> Answer:
        """`path` is below the version, and quoted. Raises SourceError."""
        send = await self._a_free_one()
        status = None
        try:
            await self._pace.turn()
            async with asyncio.timeout(PATIENCE * self._seconds):
                answer = await self._read(await send(method, f"{path}?{urlencode(query)}" if query else path))
            status = answer.status
        except (TimeoutError, httpx.TimeoutException):
            raise SourceUnavailable("the logs API did not answer in time") from None
        except httpx.HTTPError as error:
            raise SourceUnavailable(f"the logs API cannot be reached: {_fault(error)}") from None
        finally:
            self._free.put_nowait(send)
            self._metrics.answered(status)
        self._heed(answer)
        return answer

    async def _a_free_one(self) -> Send:
        """All may wait as they were told to. Who waits for them does not hang, and says so by a look at the clock."""
        while self._free.empty():
            self._clock.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    return await self._free.get()
        return self._free.get_nowait()

    async def _read(self, response: httpx.Response) -> Answer:
        async with aclosing(response):
            body = BoundedBody(self._settings.max_body_bytes, response.headers.get("content-encoding", ""))
            async for chunk in response.aiter_raw():
                body.add(chunk)
            return Answer(response.status_code, response.headers, body.whole())

    def _heed(self, answer: Answer) -> None:
        """Raise for what stops every request alike, and slow all of them where the API asks for it."""
        wait = retry_after(answer.headers, self._clock.now())
        if answer.status == httpx.codes.TOO_MANY_REQUESTS or (wait > 0 and httpx.codes.is_server_error(answer.status)):
            paused = self._pace.pause(wait)
            raise SourceUnavailable(f"the logs API told us to wait ({answer.status})", retry_after=paused)
        if httpx.codes.is_server_error(answer.status) or answer.status in (408, 425):
            raise SourceUnavailable(f"the logs API failed ({answer.status})")
        if answer.status in (401, 403):
            raise SourceRefused(
                f"the logs API refuses the key ({answer.status})",
                hint="set it with `forwarder keys set alloy-api-key`",
            )
        self._pace.answered()

    def _told_with_each(self) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Authorization": f"bearer {self._key.get_secret_value()}",
            "User-Agent": f"forwarder/{__version__}",
        }
        if self._settings.version_header:
            headers["x-api-version"] = self._settings.version_header
        return headers


def retry_after(headers: Mapping[str, str], now: datetime) -> float:
    """Seconds that a Retry-After asks for, in either of its forms (RFC 9110, 10.2.3); 0 where it says nothing usable.

    A date is compared with the answer's own Date, since the two come from one clock.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return 0.0
    if value.isascii() and value.isdigit():
        return float(value[:9])
    until = _http_date(value)
    if until is None:
        return 0.0
    return max(0.0, (until - (_http_date(headers.get("date", "")) or now)).total_seconds())


@lru_cache(maxsize=16)
def _http_date(value: str) -> datetime | None:
    """Many answers are of the same second."""
    try:
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _fault(error: httpx.HTTPError) -> str:
    """What happened, without the address: a query may name a user."""
    return {
        "ConnectError": "no connection",
        "RemoteProtocolError": "it broke off its answer",
        "ReadError": "the connection broke",
    }.get(type(error).__name__, type(error).__name__)
