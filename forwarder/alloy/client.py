"""The logs API over HTTP: what is asked, how often, and what each answer means."""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import msgspec
from pydantic import SecretStr

from forwarder import __version__
from forwarder.alloy.body import BoundedBody
from forwarder.alloy.dialect import Records, decode_page
from forwarder.alloy.pace import Pace
from forwarder.clock import Clock
from forwarder.errors import (
    PageUnreadable,
    SourceRefused,
    SourceUnavailable,
    WorkflowNotFound,
)
from forwarder.metrics import Metrics
from forwarder.model import Feed, is_id
from forwarder.settings.fields import SourceSettings

# A request whose bytes trickle is given up after this many of its time-outs.
PATIENCE = 10

LOOK_EVERY = 60.0

NOUNS = ("workflow", "workflows")

PAGE_REFUSED = (httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY)
"""How a page number is refused of a workflow that is there."""


@dataclass(frozen=True, slots=True)
class Page:
    """`api_now` is the API's own clock when it answered (whole seconds), or None where it named none.

    `as_asked` is False for one that was put together from records that were asked for alone; `ends` is whether the
    listing was found to end with it.
    """

    records: Records
    api_now: datetime | None = None
    body: bytes = field(default=b"", repr=False)
    as_asked: bool = True
    ends: bool = False

    @property
    def is_last(self) -> bool:
        return self.ends or self.records.empty


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)


class LogsClient:
    """Reads and reruns executions. Every method raises SourceError.

    Each connection has an httpx client of its own: requests that share one pool slow each other down as they wait.
    """

    def __init__(self, settings: SourceSettings, key: SecretStr, clock: Clock, metrics: Metrics | None = None) -> None:
        self._settings = settings
        self._key = key
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._pace = Pace(clock, settings.requests_per_second, self._metrics)
        self._free: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        self._open = AsyncExitStack()
        self._noun: str = settings.path_noun
        self._tried_both: set[Feed] = set()
        self._first_page: dict[Feed, int] = {}

    async def __aenter__(self) -> Self:
        """Raises SourceUnavailable where the environment names certificates or proxies that cannot be used."""
        try:
            trust = ssl.create_default_context()
            for _ in range(self._settings.concurrency):
                self._free.put_nowait(await self._open.enter_async_context(self._connection(trust)))
        except (OSError, ValueError, httpx.InvalidURL) as error:
            await self._open.aclose()
            why = f"the client of the logs API cannot be made: {type(error).__name__}"
            raise SourceUnavailable(why, hint="check the proxy and SSL_CERT_* variables") from None
        return self

    def _connection(self, trust: ssl.SSLContext) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            headers=self._headers(),
            timeout=self._settings.timeout.total_seconds(),
            limits=httpx.Limits(max_connections=1),
            verify=trust,
            follow_redirects=False,  # the key goes where the settings say and nowhere else
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def page(self, feed: Feed, number: int, limit: int) -> Page:
        """The `number`-th page, counted from 0 whatever the API counts from, newest executions first."""
        if number == 0:
            # Anew for each reading: were it remembered, one stray refusal would hide the first page for good.
            self._first_page.pop(feed, None)
            self._tried_both.discard(feed)
        query = {"page": number + self._first_page.get(feed, 0), "limit": limit, "order": "desc"}
        answer = await self._logs(feed, query)
        if answer.status in PAGE_REFUSED and query["page"] == 0:
            answer = await self._logs(feed, {**query, "page": 1})
            if answer.status == httpx.codes.OK:
                self._first_page[feed] = 1
        self._require_ok(answer)
        return Page(decode_page(answer.body), _date(answer.headers), answer.body)

    async def users(self) -> list[str]:
        """The ids of all users."""
        return _ids(await self._get("users", {}), "userId")

    async def workflows(self, user_id: str) -> list[str]:
        """The ids of a user's workflows: none where the API does not know the user any more."""
        try:
            return _ids(await self._get("workflows/", {"userId": user_id}), "workflowId")
        except WorkflowNotFound:
            return []

    async def rerun(self, feed: Feed, execution_id: str) -> str:
        """Ask for another run of an execution; the id of the new one, or what the API said instead."""
        path = f"workflows/{_segment(feed.workflow_id)}/rerun/{_segment(execution_id)}"
        answer = await self._send("POST", path, _user(feed))
        if answer.status == httpx.codes.NOT_FOUND:
            raise WorkflowNotFound(f"the logs API knows no execution {execution_id} of workflow {feed}")
        self._require_ok(answer)
        said = _json(answer.body)
        return str(said.get("executionUuid") or said.get("message") or "accepted")

    async def _logs(self, feed: Feed, query: Mapping[str, Any]) -> _Answer:
        """Under the noun that answered last; on 404 under the other, once for each feed."""
        answer = await self._send("GET", f"{self._noun}/{_segment(feed.workflow_id)}/logs", {**query, **_user(feed)})
        if answer.status == httpx.codes.NOT_FOUND and feed not in self._tried_both:
            self._tried_both.add(feed)
            other = next(noun for noun in NOUNS if noun != self._noun)
            answer = await self._send("GET", f"{other}/{_segment(feed.workflow_id)}/logs", {**query, **_user(feed)})
            if answer.status in (httpx.codes.OK, *PAGE_REFUSED):
                self._noun = other
        if answer.status == httpx.codes.NOT_FOUND:
            raise WorkflowNotFound(f"the logs API knows no workflow {feed}", hint="check its id and the user's")
        return answer

    async def _get(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        answer = await self._send("GET", path, query)
        if answer.status == httpx.codes.NOT_FOUND:
            raise WorkflowNotFound(f"the logs API knows nothing under {path}")
        self._require_ok(answer)
        return _json(answer.body)

    async def _a_free_one(self) -> httpx.AsyncClient:
        """All may wait as they were told to. Who waits for them does not hang, and says so by a look at the clock."""
        while True:
            self._clock.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    return await self._free.get()

    async def _send(self, method: str, path: str, query: Mapping[str, Any]) -> _Answer:
        client = await self._a_free_one()
        status = None
        try:
            await self._pace.turn()
            async with asyncio.timeout(PATIENCE * self._settings.timeout.total_seconds()):
                answer = await self._exchange(client, method, self._url(path), query)
            status = answer.status
        except (TimeoutError, httpx.TimeoutException):
            raise SourceUnavailable("the logs API did not answer in time") from None
        except httpx.HTTPError as error:
            raise SourceUnavailable(f"the logs API cannot be reached: {_fault(error)}") from None
        except httpx.InvalidURL:
            raise PageUnreadable("the logs API names an id that no address can hold") from None
        finally:
            self._free.put_nowait(client)
            self._metrics.answered(status)
        self._heed(answer)
        return answer

    async def _exchange(self, client: httpx.AsyncClient, method: str, url: str, query: Mapping[str, Any]) -> _Answer:
        async with client.stream(method, url, params=query) as response:
            body = BoundedBody(self._settings.max_body_bytes, response.headers.get("content-encoding", ""))
            async for chunk in response.aiter_raw():
                body.add(chunk)
            return _Answer(response.status_code, response.headers, body.whole())

    def _heed(self, answer: _Answer) -> None:
        """Raise for what stops every request alike, and slow the whole client where the API asks for it."""
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

    def _require_ok(self, answer: _Answer) -> None:
        if answer.status != httpx.codes.OK:
            raise PageUnreadable(
                f"the logs API answered {answer.status}", hint="check [source] base_url, version and path_noun"
            )

    def _headers(self) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Authorization": f"bearer {self._key.get_secret_value()}",
            "User-Agent": f"forwarder/{__version__}",
        }
        if self._settings.version_header:
            headers["x-api-version"] = self._settings.version_header
        return headers

    def _url(self, path: str) -> str:
        version = f"/{self._settings.version}" if self._settings.version else ""
        return f"{self._settings.base_url}{version}/{path}"


def retry_after(headers: Mapping[str, str], now: datetime) -> float:
    """Seconds that a Retry-After asks for, in either of its forms (RFC 9110, 10.2.3); 0 where it says nothing usable.

    A date is compared with the answer's own Date, since the two come from one clock.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    until = _http_date(value)
    if until is None:
        return 0.0
    return max(0.0, (until - (_http_date(headers.get("date", "")) or now)).total_seconds())


def _date(headers: Mapping[str, str]) -> datetime | None:
    return _http_date(headers.get("date", ""))


def _http_date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _segment(text: str) -> str:
    return quote(text, safe="")


def _user(feed: Feed) -> dict[str, str]:
    return {} if feed.user_id is None else {"userId": feed.user_id}


def _json(body: bytes) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise PageUnreadable("the logs API answered with something that is not a JSON object")
    return said


def _ids(said: Mapping[str, Any], name: str) -> list[str]:
    items = said.get("data")
    if not isinstance(items, list):
        raise PageUnreadable(f"the logs API answered without a list of {name}s")
    ids = [item.get(name) for item in items if isinstance(item, dict)]
    return list(dict.fromkeys(text for text in ids if isinstance(text, str) and is_id(text)))


def _fault(error: httpx.HTTPError) -> str:
    """What happened, without the address: a query may name a user."""
    return {
        "ConnectError": "no connection",
        "RemoteProtocolError": "it broke off its answer",
        "ReadError": "the connection broke",
    }.get(type(error).__name__, type(error).__name__)
