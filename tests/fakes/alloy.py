"""A fake of Alloy: the model of its API behind a raw socket, with faults of the API and of the network.

    with FakeAlloy() as alloy:
        alloy.api.add("w", execution("failed-status", id="1", started=alloy.api.now()))
        alloy.next(too_many_requests("2"), ResetAfter(), bad_gzip)
        alloy.always(lambda request: slow(1000) if "page=3" in request.target else None)

A fault is an action, or a function that damages the correct response. The bodies of Alloy's 403, 429 and 5xx are
not documented, and only plausible here. A page counts as listed even if a fault damages it.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable
from dataclasses import replace
from email.utils import format_datetime, parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from tests.fakes.actions import Action, Cut, Hang, HttpResponse, Slow, WrongLength
from tests.fakes.alloy_api import DocumentedAlloyApi
from tests.fakes.fault_plan import FaultPlan
from tests.fakes.wire import Request, WireServer, utc_now

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from ssl import SSLContext

API_KEY: Final = "alloy-k3y-planted-0001"
MIB: Final = 1 << 20

Fault: TypeAlias = Action | Callable[[HttpResponse], Action]
Rule: TypeAlias = Callable[[Request], Fault | None]


class FakeAlloy:
    """A server of the API. `api` is the model with the listed failures (`api.listed_ids`), `requests` the log."""

    def __init__(
        self,
        *,
        api_key: str = API_KEY,
        now: Callable[[], datetime] = utc_now,
        compress: bool = False,
        tls: SSLContext | None = None,
        **options: Any,
    ) -> None:
        self.api = DocumentedAlloyApi(api_key=api_key, now=now, **options)
        self.requests: list[Request] = []
        self._fault_plan: FaultPlan[Fault] = FaultPlan()
        self._server = WireServer(self._handle, compress=compress, now=now, tls=tls)
        self.wait_until = self._server.wait_until
        self.always = self._fault_plan.always
        self.clear = self._fault_plan.clear

    @property
    def url(self) -> str:
        """Return the base URL, without the version."""
        return self._server.url

    @property
    def max_in_flight(self) -> int:
        return self._server.max_in_flight

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.__exit__(*raised)

    def next(self, *faults: Fault, path_contains: str = "") -> None:
        """Queue one fault for each of the next requests whose path contains the text."""
        self._fault_plan.next(*faults, when=lambda request: path_contains in request.path)

    def answer(self, request: Request, **query: str) -> HttpResponse:
        """Return the correct response to the request, with changes of the query."""
        reply = self.api.respond(request.method, request.path, request.query | query, request.headers)
        return HttpResponse(reply.status, reply.headers, reply.body)

    def _handle(self, request: Request) -> Action:
        self.requests.append(request)
        fault = self._fault_plan.pick(request)
        if isinstance(fault, Action):
            return fault
        answer = self.answer(request)
        return answer if fault is None else fault(answer)


# Refusals. `Retry-After` is seconds or an HTTP date (RFC 9110, 10.2.3). Other values are bugs of a server.


def too_many_requests(retry_after: str | None = None) -> HttpResponse:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return HttpResponse(429, headers, b'{"message":"Too Many Requests"}')


def http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def unavailable(status: int = 503, retry_after: str | None = None) -> HttpResponse:
    """Return a 5xx with HTML, as of a load balancer."""
    headers = {"Content-Type": "text/html"} | ({} if retry_after is None else {"Retry-After": retry_after})
    return HttpResponse(status, headers, b"<html><body><h1>Service Unavailable</h1></body></html>")


def unauthorized() -> HttpResponse:
    return HttpResponse(401, {}, b'{"message":"Unauthorized"}')


def forbidden() -> HttpResponse:
    return HttpResponse(403, {}, b'{"message":"Forbidden"}')


# Bodies that are not pages.


def not_json() -> HttpResponse:
    return HttpResponse(200, {"Content-Type": "text/html"}, b"<html><body>Please sign in</body></html>")


def data_null() -> HttpResponse:
    return HttpResponse(200, {}, b'{"data": null}')


def other_shape(content: object = ("a", "list")) -> HttpResponse:
    return HttpResponse(200, {}, json.dumps(content).encode())


@cache
def gzip_bomb(size: int = 128 * MIB) -> HttpResponse:
    """Return a few hundred KB that decompress to `size` bytes of a valid, empty page."""
    packer = zlib.compressobj(9, wbits=31)
    packed = [packer.compress(b'{"data": [')]
    packed += [packer.compress(bytes(MIB).replace(b"\0", b" ")) for _ in range(size // MIB)]
    packed += [packer.compress(b"]}"), packer.flush()]
    return HttpResponse(200, {"Content-Encoding": "gzip"}, b"".join(packed))


# Damage to a correct response.


def bad_gzip(answer: HttpResponse) -> Action:
    """Declare gzip for a body without compression."""
    return replace(answer, headers={**answer.headers, "Content-Encoding": "gzip"})


def broken_gzip(answer: HttpResponse) -> Action:
    """Replace all but the first bytes of the gzip stream."""
    packed = answer.zipped()
    return replace(packed, body=packed.body[:10] + b"\xff" * (len(packed.body) - 10))


def cut_gzip(answer: HttpResponse) -> Action:
    """Truncate the gzip stream to a half, under a correct Content-Length."""
    packed = answer.zipped()
    return replace(packed, body=packed.body[: len(packed.body) // 2])


def slow(bytes_per_second: float) -> Callable[[HttpResponse], Action]:
    return lambda answer: Slow(answer, bytes_per_second)


def delayed(seconds: float) -> Callable[[HttpResponse], Action]:
    return lambda answer: Hang(seconds, then=answer)


def cut(at: int, *, reset: bool = False) -> Callable[[HttpResponse], Action]:
    return lambda answer: Cut(answer, at, reset)


def wrong_length(delta: int) -> Callable[[HttpResponse], Action]:
    return lambda answer: WrongLength(answer, delta)


def skewed(by: timedelta) -> Callable[[HttpResponse], Action]:
    """Shift the Date header, and not the times of the records."""

    def fault(answer: HttpResponse) -> Action:
        date = http_date(parsedate_to_datetime(answer.headers["Date"]) + by)
        return replace(answer, headers={**answer.headers, "Date": date})

    return fault


def undated(answer: HttpResponse) -> Action:
    return replace(answer, headers={name: value for name, value in answer.headers.items() if name != "Date"})


def out_of_order(seed: int) -> Callable[[HttpResponse], Action]:
    """Shuffle the records of the page."""

    def fault(answer: HttpResponse) -> Action:
        content = json.loads(answer.body)
        random.Random(seed).shuffle(content["data"])  # noqa: S311 - a seed is the point
        return replace(answer, body=json.dumps(content).encode())

    return fault


# Rules for `always`: listings that change while they are read.


def shifting(api: DocumentedAlloyApi, workflow_id: str, newer: Callable[[], dict[str, Any]], *, times: int = 1) -> Rule:
    """Add `times` new executions before each page except the first, which shift the older ones."""

    def rule(request: Request) -> None:
        if request.path.endswith("/logs") and int(request.query.get("page", api.page_base)) > api.page_base:
            for _ in range(times):
                api.add(workflow_id, newer())

    return rule


def repeating(alloy: FakeAlloy) -> Rule:
    """Return the first page for every page."""
    first = str(alloy.api.page_base)
    return lambda request: alloy.answer(request, page=first) if request.path.endswith("/logs") else None


def short(alloy: FakeAlloy, limit: int) -> Rule:
    """Return pages of at most `limit` records, whatever the request's limit."""

    def rule(request: Request) -> Fault | None:
        requested = int(request.query.get("limit", limit))
        return alloy.answer(request, limit=str(min(requested, limit))) if request.path.endswith("/logs") else None

    return rule


def fixed_size(alloy: FakeAlloy, size: int) -> Rule:
    """Return pages of `size` records, and ignore the parameter `limit`."""
    return lambda request: alloy.answer(request, limit=str(size)) if request.path.endswith("/logs") else None


def oldest_first(alloy: FakeAlloy) -> Rule:
    """Ignore the parameter `order`, and list the oldest execution first."""
    return lambda request: alloy.answer(request, order="asc") if request.path.endswith("/logs") else None
