"""The faults of a request to EventBridge, each with or without the delivery of its events.

A fault applies only to a request that AWS would have accepted. With `delivered` true, its accepted events reach the
bus, and only the response is damaged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from tests.fakes.actions import Action, Cut, Hang, Held, HttpResponse, ResetAfter, ResetBefore, Slow

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from random import Random

JSON_HEADERS: Final = {"Content-Type": "application/x-amz-json-1.1"}
HTML: Final = b"<html><body><h1>Bad Gateway</h1></body></html>"


@dataclass(frozen=True)
class Fault:
    name: str
    delivered: bool
    spoil: Callable[[HttpResponse], Action]
    codes: Mapping[int, str] = field(default_factory=dict)  # entries refused by their index
    message: str = ""  # of these entries, if it is not AWS's own
    early: bool = False  # acts on the head, before the body is read

    def __str__(self) -> str:
        return f"{self.name}, {'delivered' if self.delivered else 'not delivered'}"


def refusal(status: int, code: str, message: str) -> HttpResponse:
    return HttpResponse(status, JSON_HEADERS, json.dumps({"__type": code, "message": message}).encode())


DIALECTS: Final = ("plain", "coral", "capital", "url", "header")
"""The formats of errors of AWS's services and gateways: the plain code, with a namespace, with `Message` instead of
`message`, with a URL after the code, or in a header only."""


def refusal_in(dialect: str, status: int, code: str, message: str) -> HttpResponse:
    match dialect:
        case "coral":
            return refusal(status, f"com.amazon.coral.service#{code}", message)
        case "capital":
            return HttpResponse(status, JSON_HEADERS, json.dumps({"__type": code, "Message": message}).encode())
        case "url":
            return refusal(status, f"{code}:http://internal.amazon.com/coral/com.amazon.coral.service/", message)
        case "header":
            headers = {**JSON_HEADERS, "x-amzn-ErrorType": f"{code}:http://internal.amazon.com/coral/"}
            return HttpResponse(status, headers, json.dumps({"message": message}).encode())
        case _:
            return refusal(status, code, message)


# Some of the entries, or the whole request, are refused. Refused entries are not delivered.


def entry_codes(codes: Mapping[int, str], message: str = "") -> Fault:
    """Refuse these entries in a 200, and deliver the others. `message` replaces AWS's own."""
    name = f"entry codes {dict(codes)} {message}".strip()
    return Fault(name, delivered=True, spoil=lambda answer: answer, codes=codes, message=message)


def refused(status: int, code: str, message: str = "") -> Fault:
    return Fault(f"{status} {code}", delivered=False, spoil=lambda _: refusal(status, code, message))


def refused_in(dialect: str, status: int, code: str, message: str = "") -> Fault:
    answer = refusal_in(dialect, status, code, message)
    return Fault(f"{status} {code} ({dialect})", delivered=False, spoil=lambda _: answer)


def bare(status: int) -> Fault:
    """Return a status without a body, as of a gateway, a load balancer or a proxy."""
    return Fault(f"{status} bare", delivered=False, spoil=lambda _: HttpResponse(status))


def throttled() -> Fault:
    return refused(400, "ThrottlingException", "Rate exceeded")


def internal_failure() -> Fault:
    return refused(500, "InternalFailure", "An internal failure occurred.")


def unavailable() -> Fault:
    return refused(503, "ServiceUnavailable", "Service Unavailable")


def access_denied() -> Fault:
    return refused(400, "AccessDeniedException", "User is not authorized to perform: events:PutEvents")


def too_large() -> Fault:
    """Return a 413 without a body, as for a request that is too large on the wire."""
    return Fault("413", delivered=False, spoil=lambda _: HttpResponse(413))


def html(status: int = 200, *, delivered: bool) -> Fault:
    """Return a proxy's page instead of the response: 200, 502, 504."""
    return Fault(f"{status} HTML", delivered, lambda _: HttpResponse(status, {"Content-Type": "text/html"}, HTML))


# A 200 without the outcome of each entry.


def empty(*, delivered: bool) -> Fault:
    return Fault("200 empty", delivered, lambda answer: replace(answer, body=b""))


def half_json(*, delivered: bool) -> Fault:
    """Send half the body, under the Content-Length of the half."""
    return Fault("200 half", delivered, lambda answer: replace(answer, body=answer.body[: len(answer.body) // 2]))


def cut_off(*, delivered: bool, reset: bool = False) -> Fault:
    """Send half the body, under the Content-Length of the whole, and end the connection."""
    name = "200 reset half-way" if reset else "200 closed half-way"
    return Fault(name, delivered, lambda answer: Cut(answer, len(answer.body) // 2, reset))


def too_few(*, delivered: bool) -> Fault:
    return Fault("200 an entry too few", delivered, entries_become(lambda entries: entries[:-1]))


def too_many(*, delivered: bool) -> Fault:
    return Fault("200 an entry too many", delivered, entries_become(lambda entries: [*entries, entries[-1]]))


def both(index: int = 0, *, delivered: bool) -> Fault:
    """Report one entry as accepted and refused."""
    extra = {"EventId": "e", "ErrorCode": "InternalFailure", "ErrorMessage": "Internal failure."}
    return Fault("200 both", delivered, entries_become(lambda entries: swapped(entries, index, extra)))


def neither(index: int = 0, *, delivered: bool) -> Fault:
    """Report no outcome of one entry."""
    return Fault("200 neither", delivered, entries_become(lambda entries: swapped(entries, index, {})))


def failed_count(count: int | None, *, delivered: bool) -> Fault:
    """Replace the FailedEntryCount, or remove it."""

    def spoil(answer: HttpResponse) -> Action:
        content = {name: value for name, value in json.loads(answer.body).items() if name != "FailedEntryCount"}
        content |= {} if count is None else {"FailedEntryCount": count}
        return replace(answer, body=json.dumps(content).encode())

    return Fault(f"200 FailedEntryCount {count}", delivered, spoil)


# The connection.


def reset_before() -> Fault:
    return Fault("reset before", delivered=False, spoil=lambda _: ResetBefore(), early=True)


def reset_after(*, delivered: bool) -> Fault:
    """Reset the connection after the whole request was read."""
    return Fault("reset after", delivered, lambda _: ResetAfter())


def closed_after(*, delivered: bool) -> Fault:
    """Close the connection after the whole request was read, without a response."""
    return Fault("closed after", delivered, lambda _: Hang(0))


def hang(seconds: float, *, delivered: bool) -> Fault:
    """Wait before the correct response."""
    return Fault("hang", delivered, lambda answer: Hang(seconds, then=answer))


def hold(released: threading.Event, *, delivered: bool) -> Fault:
    """Wait before the correct response until a test sets `released`."""
    return Fault("hold", delivered, lambda answer: Held(released, then=answer))


def slow(bytes_per_second: float, *, delivered: bool = True) -> Fault:
    return Fault("slow", delivered, lambda answer: Slow(answer, bytes_per_second))


def entries_become(change: Callable[[list[Any]], list[Any]]) -> Callable[[HttpResponse], Action]:
    def spoil(answer: HttpResponse) -> Action:
        content = json.loads(answer.body)
        content["Entries"] = change(content["Entries"])
        return replace(answer, body=json.dumps(content).encode())

    return spoil


def swapped(entries: list[Any], index: int, entry: dict[str, str]) -> list[Any]:
    return [entry if position == index else other for position, other in enumerate(entries)]


# The faults of `StrictEventBridge.chaos`. The delivery of events whose response is lost is random too.

TRANSIENT: Final = ("ThrottlingException", "InternalFailure", "InternalException")
PERMANENT: Final = ("MalformedDetail", "InvalidArgument")

CHAOS: Final[Mapping[str, Callable[[Random], Fault]]] = {
    "transient entries": lambda draw: entry_codes(some(draw, TRANSIENT)),
    "permanent entries": lambda draw: entry_codes(some(draw, PERMANENT)),
    "unknown entries": lambda draw: entry_codes(some(draw, ("BrandNewException",))),
    "throttled": lambda _: throttled(),
    "internal failure": lambda _: internal_failure(),
    "unavailable": lambda _: unavailable(),
    "too large": lambda _: too_large(),
    "bad gateway": lambda draw: html(draw.choice((502, 504)), delivered=coin(draw)),
    "html": lambda draw: html(delivered=coin(draw)),
    "empty": lambda draw: empty(delivered=coin(draw)),
    "half json": lambda draw: half_json(delivered=coin(draw)),
    "cut off": lambda draw: cut_off(delivered=coin(draw), reset=coin(draw)),
    "wrong count": lambda draw: failed_count(3, delivered=coin(draw)),
    "too few": lambda draw: too_few(delivered=coin(draw)),
    "too many": lambda draw: too_many(delivered=coin(draw)),
    "both": lambda draw: both(delivered=coin(draw)),
    "neither": lambda draw: neither(delivered=coin(draw)),
    "reset before": lambda _: reset_before(),
    "reset after": lambda draw: reset_after(delivered=coin(draw)),
    "closed after": lambda draw: closed_after(delivered=coin(draw)),
    "hang": lambda draw: hang(60, delivered=coin(draw)),
    "slow": lambda _: slow(20_000),
}


def coin(draw: Random) -> bool:
    return draw.random() < 0.5


def some(draw: Random, codes: tuple[str, ...]) -> dict[int, str]:
    """Refuse one to three entries of ten. Indexes after the end of a smaller request have no effect."""
    return {index: draw.choice(codes) for index in draw.sample(range(10), draw.randint(1, 3))}
