"""Unusual HTTP of servers and caches before the logs API is read, or named in the error."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.e2e.harness import fail, numbered, sent, watermark
from tests.fakes.actions import Action, HttpResponse, Raw
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.fakes.wire import Request
from tests.harness.installation import CommandResult, Installation

JSON = {"Content-Type": "application/json"}


def with_head(*lines: str, first: str = "HTTP/1.1 200 OK", before: bytes = b"") -> Callable[[HttpResponse], Raw]:
    """Return the correct body with another head, and a close."""

    def spoil(answer: HttpResponse) -> Raw:
        head = "\r\n".join([first, *lines, f"Content-Length: {len(answer.body)}", "", ""])
        return Raw(before + head.encode("latin-1") + answer.body)

    return spoil


READABLE: dict[str, Callable[[HttpResponse], Action]] = {
    "http-1.0": with_head(first="HTTP/1.0 200 OK"),
    "no-reason": with_head(first="HTTP/1.1 200"),
    "no-length": lambda answer: Raw(b"HTTP/1.1 200 OK\r\n\r\n" + answer.body),
    "bare-line-feeds": lambda answer: Raw(b"HTTP/1.1 200 OK\nContent-Length: %d\n\n" % len(answer.body) + answer.body),
    "continue": with_head(before=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early-hints": with_head(before=b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n" * 2),
    "empty-value": with_head("Server:"),
    "latin-1": with_head("X-City: M\xfcnchen"),
    "folded": with_head("X-Long: a", "  b"),
    "long-line": with_head("X-Long: " + "a" * 90_000),
    "many-lines": with_head(*(f"X-{number}: x" for number in range(500))),
}

NAMED = {
    "illegal-name": (with_head("cache/forum.php: s3cret"), "illegal header line"),
    "space-before-colon": (with_head("X-Thing : s3cret"), "illegal header line"),
    "no-colon": (with_head("s3cret"), "illegal header line"),
    "two-lengths": (with_head("Content-Length: 5"), "conflicting Content-Length headers"),
    "two-codings": (with_head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), "multiple Transfer"),
    "other-protocol": (with_head(first="ICY 200 OK"), "illegal status line"),
}


def apply_faults(
    forms: dict[str, Callable[[HttpResponse], Action]],
) -> Callable[[Request], Callable[[HttpResponse], Action]]:
    return lambda request: forms[request.path.split("/")[-2]]


@pytest.fixture
def many(
    installation: Installation, alloy: FakeAlloy
) -> Callable[[dict[str, Callable[[HttpResponse], Action]]], CommandResult]:
    def run(forms: dict[str, Callable[[HttpResponse], Action]]) -> CommandResult:
        installation.change("source", workflows=[*forms])
        for name in forms:
            fail(alloy, name, workflow=name)
        alloy.always(apply_faults(forms))
        return installation.run_command("once")

    return run


def test_unusual_http_response_is_read(many: Callable[..., CommandResult], bus: StrictEventBridge) -> None:
    assert many(READABLE).code == 0
    assert sent(bus) == sorted(READABLE)


def test_invalid_http_response_is_named_without_its_bytes(many: Callable[..., CommandResult]) -> None:
    done = many({name: form for name, (form, _) in NAMED.items()})
    lines = {line["feed"]: line["reason"] for line in done.log if line["event"] == "poll aborted"}
    for name, (_, expected) in NAMED.items():
        assert lines[name].startswith(f"the logs API responded with invalid HTTP: {expected}"), name
    assert (done.code, "s3cret" in done.output) == (69, False)


@pytest.mark.parametrize("status", [206, 304])
def test_response_of_a_cache_is_named(installation: Installation, alloy: FakeAlloy, status: int) -> None:
    alloy.always(lambda _: HttpResponse(status, JSON, b"" if status == 304 else b'{"data": []}'))
    done = installation.run_command("check")
    assert f"returned {status}" in done.out
    assert "a cache before the logs API" in done.out
    assert "redirect" not in done.out


class Cache:
    """A shared cache that stores each page without a limit, and follows the directives of requests."""

    def __init__(self, alloy: FakeAlloy) -> None:
        self._alloy = alloy
        self._stored: dict[str, HttpResponse] = {}

    def __call__(self, request: Request) -> HttpResponse:
        if "no-cache" in request.headers.get("cache-control", "") or request.target not in self._stored:
            self._stored[request.target] = self._alloy.answer(request)
        return self._stored[request.target]


def test_page_in_a_cache_hides_no_failure(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    alloy.always(Cache(alloy))
    fail(alloy, "first")
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["first"])
        fail(alloy, "second")
        daemon.wait_until(lambda: sent(bus) == ["first", "second"])
        assert daemon.stop() == 0


@pytest.mark.parametrize("status", [404, 416])
def test_missing_page_after_the_last_ends_the_scan(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, status: int
) -> None:
    installation.change("source", page_size=2)
    fail(alloy, *numbered(4))
    answer = HttpResponse(status, JSON, b'{"detail": "Invalid page."}')
    alloy.always(lambda request: answer if request.query.get("page") not in ("0", "1") else None)
    done = installation.run_command("once")
    assert (done.code, sent(bus)) == (0, numbered(4))
    assert watermark(installation)


def test_workflow_removed_during_a_scan_is_named(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", page_size=2)
    fail(alloy, *numbered(4))
    targets: list[str] = []

    def gone(request: Request) -> HttpResponse | None:
        targets.append(request.target)
        return HttpResponse(404, JSON, b"{}") if len(targets) > 1 else None

    alloy.always(gone)
    done = installation.run_command("once")
    assert (done.code, "knows no workflow" in done.err, watermark(installation)) == (69, True, None)


def test_repeated_page_ends_the_scan_as_incomplete(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """A page number after the end gives the last page again, without a sign that the listing ended."""
    installation.change("source", page_size=2)
    fail(alloy, *numbered(4))
    alloy.always(
        lambda request: alloy.answer(request, page="1") if request.query.get("page") not in ("0", "1") else None
    )
    done = installation.run_command("once")
    assert (done.code, sent(bus), watermark(installation)) == (69, numbered(4), None)
    assert "the same page repeatedly" in done.err


def test_403_with_retry_after_is_a_rate_limit(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "x")
    limited = HttpResponse(
        403, {**JSON, "Retry-After": "1"}, b'{"message": "You have exceeded a secondary rate limit"}'
    )
    alloy.next(limited, limited)
    done = installation.run_command("once")
    assert (done.code, sent(bus)) == (0, ["x"])
    assert "refuses the key" not in done.output


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("{now}", (0, 5)),
        ("{now}000", (0, 5)),
        ("{past}", (0, 5)),
        ("2", (1, 5)),
        ("-5", (0, 5)),
        ("1.5", (0, 5)),
        ("1s", (0, 5)),
        ("99999999999999999999", (3000, 3600)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", (0, 5)),
    ],
)
def test_retry_after_in_any_form_is_bounded(
    installation: Installation, alloy: FakeAlloy, value: str, seconds: tuple[float, float]
) -> None:
    """A Unix time would stop all polls for an hour if it was read as a number of seconds."""
    now = int(time.time())
    limited = HttpResponse(429, {"Retry-After": value.format(now=now + 2, past=now - 60)})
    fail(alloy, "x")
    alloy.next(limited)
    started = time.monotonic()
    done = installation.run_command("once", "--timeout", "8s")
    assert (done.code == 0) == (seconds[1] < 60), done
    assert time.monotonic() - started > seconds[0] or done.code
