"""Each fault of the wire, and the resulting error of httpx, on which the intake's classification depends."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from tests.fakes.actions import (
    Action,
    Chunked,
    Cut,
    Hang,
    HttpResponse,
    Raw,
    ResetAfter,
    ResetBefore,
    Slow,
    WrongLength,
)
from tests.fakes.wire import Request, WireServer

HELLO = HttpResponse(200, {"Content-Type": "application/json"}, b'{"hello": "world"}')


def post(server: WireServer, action_timeout: float = 0.3) -> httpx.Response:
    return httpx.post(server.url + "/a%2Fb?x=1&y=", content=b"asked", timeout=action_timeout)


@pytest.mark.parametrize("action", [HELLO, Chunked(HELLO, 4), Slow(HELLO, 10_000), Hang(0.01, then=HELLO)])
def test_complete_response_arrives_whole(action: Action) -> None:
    with WireServer(lambda _: action) as server:
        reply = post(server)
    assert (reply.status_code, reply.content) == (200, HELLO.body)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (ResetBefore(), httpx.ReadError),
        (ResetAfter(), httpx.ReadError),
        (Hang(30), httpx.ReadTimeout),
        (Hang(0), httpx.RemoteProtocolError),
        (Slow(HELLO, 1), httpx.ReadTimeout),
        (Cut(HELLO, 3), httpx.RemoteProtocolError),
        (Cut(HELLO, 3, reset=True), httpx.ReadError),
        (WrongLength(HELLO, 3), httpx.ReadTimeout),
        (Chunked(HELLO, 4, ends=False), httpx.RemoteProtocolError),
        (Raw(b"not HTTP\r\n\r\n"), httpx.RemoteProtocolError),
        (Raw(b"HTTP/1.1 200 OK\r\nContent-"), httpx.RemoteProtocolError),
        (HttpResponse(200, {"Content-Encoding": "gzip"}, b"not gzip"), httpx.DecodingError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Action) else value.__name__,
)
def test_broken_response_is_an_error_of_httpx(fault: Action, error: type[Exception]) -> None:
    with WireServer(lambda _: fault) as server, pytest.raises(httpx.RequestError) as raised:
        post(server)
    assert type(raised.value) is error


def test_short_content_length_truncates_and_breaks_the_next() -> None:
    with WireServer(lambda _: WrongLength(HELLO, -3)) as server, httpx.Client() as client:
        assert client.get(server.url).content == HELLO.body[:-3]
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(server.url)


def test_handler_gets_the_request_as_sent() -> None:
    received: list[Request] = []

    def handler(request: Request) -> Action:
        received.append(request)
        return HELLO

    with WireServer(handler) as server:
        post(server)
    request = received[0]
    assert (request.index, request.method, request.path, request.query, request.body) == (
        0,
        "POST",
        "/a%2Fb",
        {"x": "1", "y": ""},
        b"asked",
    )
    assert request.headers["content-length"] == "5"


def test_screen_can_reset_before_the_body_is_read() -> None:
    requests: list[Request] = []

    def screen(request: Request) -> Action | None:
        requests.append(request)
        return ResetBefore()

    with WireServer(lambda _: HELLO, screen=screen) as server, pytest.raises(httpx.TransportError):
        httpx.post(server.url, content=bytes(10_000_000))
    assert [request.body for request in requests] == [b""]


def test_connection_is_reused_for_compressed_responses() -> None:
    with WireServer(lambda _: HELLO, compress=True) as server, httpx.Client() as client:
        replies = [client.get(server.url) for _ in range(3)]
        assert [reply.json() for reply in replies] == [{"hello": "world"}] * 3
        assert replies[0].headers["content-encoding"] == "gzip"
        assert (server.count, server.max_in_flight) == (3, 1)


def test_close_ends_hanging_requests_at_once() -> None:
    ends: list[Exception] = []

    def send() -> None:
        try:
            post(server, action_timeout=60)
        except httpx.TransportError as error:
            ends.append(error)

    with WireServer(lambda _: Hang(60)) as server:
        threads = [threading.Thread(target=send) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert server.wait_until(lambda: server.max_in_flight == 3)
        began = time.monotonic()
    for thread in threads:
        thread.join()
    assert len(ends) == 3
    assert time.monotonic() - began < 5


def test_hanging_request_ends_when_its_client_closes() -> None:
    with WireServer(lambda _: Hang(60)) as server:
        for _ in range(2):
            with pytest.raises(httpx.ReadTimeout):
                post(server, action_timeout=0.05)
        assert server.max_in_flight == 1


def test_restarted_server_keeps_its_address() -> None:
    server = WireServer(lambda _: HELLO)
    with server:
        assert post(server).status_code == 200
    with pytest.raises(httpx.ConnectError):
        post(server)
    with server:
        assert post(server).status_code == 200


def test_exception_of_a_handler_fails_the_test() -> None:
    def handler(_: Request) -> Action:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup), WireServer(handler) as server:
        assert post(server).status_code == 500
