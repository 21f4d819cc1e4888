"""Malformed requests are counted and logged in one line. The response quotes nothing and names no version."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from forwarder.vault import WEBHOOK_TOKEN
from forwarder.web.response_headers import HEADERS
from forwarder.web.tokens import issue_token
from tests.e2e.web_client import create_webhook, http_request, web_address
from tests.harness.installation import Installation
from tests.harness.process import eventually
from tests.virtual_clock import NOON
from tests.web.certificates import create_signing_key
from tests.web.client import WebClient, web_client

PLANTED = "planted-0b5e1c7d9a"
"""A text instead of a session cookie, a webhook token or a password."""

HOST = b"{host}"

Parts = tuple[bytes, ...]


def get(line: str = f"GET /{PLANTED} HTTP/1.1", *headers: str) -> Parts:
    return ("\r\n".join([line, "Host: {host}", *headers, "", ""]).encode("latin-1"),)


def post(*headers: str, body: str = "", path: str = "/login") -> Parts:
    head = get(f"POST {path} HTTP/1.1", "Origin: http://{host}", f"Cookie: forwarder={PLANTED}", *headers)[0]
    return (head + body.encode("latin-1"),)


FORM = "Content-Type: application/x-www-form-urlencoded"
CHUNKED = "Transfer-Encoding: chunked"

REQUESTS: dict[str, Parts] = {
    "bytes that are no request": (b"\x00\x01\x02" + PLANTED.encode() + b"\r\n\r\n",),
    "a TLS hello": (bytes.fromhex("16030100c8010000c40303") + PLANTED.encode() * 10 + b"\r\n\r\n",),
    "an SSH hello": (f"SSH-2.0-{PLANTED}\r\n\r\n".encode(),),
    "an HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",),
    "a PROXY header": (f"PROXY TCP4 198.51.100.1 {PLANTED} 1 2\r\n".encode() + get()[0],),
    "a method alone": (b"GET\r\n\r\n",),
    "a wrong method": get(f"G@T /{PLANTED} HTTP/1.1"),
    "a method in lower case": get(f"get /{PLANTED} HTTP/1.1"),
    "an endless method": get("G" * 20_000),
    "an unknown version": get(f"GET /{PLANTED} HTTP/9.9"),
    "a version that is none": get(f"GET /{PLANTED} HTTP/x.y"),
    "no target": get("GET  HTTP/1.1"),
    "an asterisk": get("GET * HTTP/1.1"),
    "an asterisk for OPTIONS": get("OPTIONS * HTTP/1.1"),
    "an absolute target": get(f"GET http://evil.example/{PLANTED} HTTP/1.1"),
    "a damaged absolute target": get(f"GET http://[::/{PLANTED} HTTP/1.1"),
    "a port that is none": get(f"GET http://a:999999/{PLANTED} HTTP/1.1"),
    "CONNECT": get(f"CONNECT {PLANTED}.example:443 HTTP/1.1"),
    "a damaged CONNECT": get(f"CONNECT {PLANTED}:b:c HTTP/1.1"),
    "CONNECT without a host": get("CONNECT [::1 HTTP/1.1"),
    "TRACE": get(f"TRACE /{PLANTED} HTTP/1.1"),
    "a method that nobody handles": get(f"PROPFIND /{PLANTED} HTTP/1.1"),
    "a method of another route": get("DELETE /livez HTTP/1.1"),
    "a damaged escape in the path": get(f"GET /%zz%ff%00{PLANTED} HTTP/1.1"),
    "bytes in the path": get(f"GET /\xff\xfe{PLANTED} HTTP/1.1"),
    "NUL in the path": get(f"GET /a\x00b{PLANTED} HTTP/1.1"),
    "a very long path": get(f"GET /{PLANTED * 2000} HTTP/1.1"),
    "a very long header": get("GET /livez HTTP/1.1", f"X: {PLANTED * 2000}"),
    "a header without an end": (f"GET /livez HTTP/1.1\r\nX: {PLANTED * 10_000}".encode(),),
    "thousands of headers": get("GET /livez HTTP/1.1", *(f"X{number}: {PLANTED}" for number in range(2000))),
    "a header without a colon": get("GET /livez HTTP/1.1", f"Cookie {PLANTED}"),
    "a space before the colon": get("GET /livez HTTP/1.1", f"Cookie : {PLANTED}"),
    "a header name of bytes": get("GET /livez HTTP/1.1", f"\xff\xfe: {PLANTED}"),
    "NUL in a header": get("GET /livez HTTP/1.1", f"Cookie: a\x00{PLANTED}"),
    "a folded header": get("GET /livez HTTP/1.1", f"Cookie: a\r\n {PLANTED}"),
    "line feeds alone": (get("GET /livez HTTP/1.1", f"Cookie: {PLANTED}")[0].replace(b"\r", b""),),
    "no host": (f"GET /{PLANTED} HTTP/1.1\r\n\r\n".encode(),),
    "two hosts": get("GET /livez HTTP/1.1", f"Host: {PLANTED}"),
    "a damaged host": (f"GET /{PLANTED} HTTP/1.1\r\nHost: {PLANTED}:[\r\n\r\n".encode(),),
    "a host of bytes": (b"GET /none HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",),
    "two lengths": post("Content-Length: 1", "Content-Length: 2", body="ab"),
    "a negative length": post("Content-Length: -1"),
    "a signed length": post("Content-Length: +1", body="a"),
    "a length that is text": post(f"Content-Length: {PLANTED}"),
    "a huge length": post(f"Content-Length: {'9' * 30}"),
    "a length above the limit": post("Content-Length: 999999", body="a"),
    "a length and chunks": post("Content-Length: 1", CHUNKED, body="0\r\n\r\n"),
    "chunks twice": post(CHUNKED, CHUNKED, body="0\r\n\r\n"),
    "an unknown transfer encoding": post(f"Transfer-Encoding: {PLANTED}", body="0\r\n\r\n"),
    "a damaged chunk": post(CHUNKED, FORM, body=f"zz{PLANTED}\r\n\r\n"),
    "a damaged second chunk": post(CHUNKED, FORM, body=f"5\r\ntokenXXzz{PLANTED}\r\n\r\n"),
    "a chunk damaged later": (*post(CHUNKED, FORM, body="5\r\ntoken\r\n"), f"zz{PLANTED}\r\n\r\n".encode()),
    "an endless chunk size": post(CHUNKED, FORM, body="f" * 40 + f"\r\n{PLANTED}"),
    "damaged gzip": post("Content-Encoding: gzip", FORM, "Content-Length: 18", body=PLANTED),
    "damaged deflate": post("Content-Encoding: deflate", FORM, "Content-Length: 18", body=PLANTED),
    "an unknown encoding": post(f"Content-Encoding: {PLANTED}", FORM, "Content-Length: 18", body=PLANTED),
    "an unknown expectation": post(f"Expect: {PLANTED}", "Content-Length: 0"),
    "an unknown expectation of nothing": post(f"Expect: {PLANTED}", "Content-Length: 0", path="/none"),
    "a damaged type": post(f"Content-Type: \xff;;=={PLANTED}", "Content-Length: 18", body=PLANTED),
    "garbage after an upgrade": (get("GET /none HTTP/1.1", "Connection: Upgrade", "Upgrade: x")[0] + b"G@ \r\n\r\n",),
    "a form that is none": post(FORM, "Content-Length: 20", body=f"%ff{PLANTED}"),
}


async def exchange(address_: str, parts: Parts) -> bytes:
    """Send the parts one after the other, and return the bytes until the server closes or sends no more."""
    where = urlsplit(address_)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    received = b""
    try:
        for number, part in enumerate(parts):
            writer.write(part.replace(HOST, where.netloc.encode()))
            await writer.drain()
            if number < len(parts) - 1:
                await asyncio.sleep(0.05)  # so that the parts arrive as several
        async with asyncio.timeout(20):
            while b"\r\n\r\n" not in received:
                piece = await reader.read(65_536)
                if not piece:
                    break
                received += piece
    except ConnectionError:
        pass  # what was sent after the refusal
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return received


def headers_of(received: bytes) -> tuple[int, dict[str, str]]:
    lines = received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return int(lines[0].split()[1]), dict(line.split(": ", 1) for line in lines[1:])


class LogCollector(logging.Handler):
    """A collector of all log records of libraries."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.INFO:
            self.lines.append(self.format(record))


@pytest.mark.parametrize("listener", ["web_ui", "health"])
@pytest.mark.parametrize("case", REQUESTS)
async def test_malformed_request_is_refused_without_its_content(tmp_path: Path, case: str, listener: str) -> None:
    collector = LogCollector()
    logging.getLogger().addHandler(collector)
    try:
        async with web_client(tmp_path, health_listen="127.0.0.1:0") as client:
            with capture_logs() as log:
                received = await exchange(getattr(client.addresses, listener), REQUESTS[case])
            assert (await client.get("/livez")).status == 200
    finally:
        logging.getLogger().removeHandler(collector)
    status, headers = headers_of(received)
    assert 300 <= status < 500
    assert {name: headers.get(name) for name in HEADERS} == HEADERS
    assert headers["Cache-Control"] == "no-store"
    assert not re.search(f"{PLANTED}|aiohttp|python|Traceback", received.decode("latin-1"), re.IGNORECASE)
    assert PLANTED not in str(log)
    assert not [line for line in log if line["event"] == "request failed"]
    assert collector.lines == []


async def test_damaged_later_chunk_is_refused_at_once(tmp_path: Path) -> None:
    """aiohttp alone would leave the reader of the body waiting; see `Connection._end_damaged_body`."""
    async with web_client(tmp_path) as client:
        async with asyncio.timeout(5):
            received = await exchange(client.addresses.web_ui, REQUESTS["a chunk damaged later"])
        assert received.startswith(b"HTTP/1.1 400")


async def test_client_that_leaves_during_its_body_is_no_fault(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        where = urlsplit(client.addresses.web_ui)
        with capture_logs() as log:
            for line in (post(FORM, "Content-Length: 60", body="token=")[0], get()[0], b"GET /"):
                _, writer = await asyncio.open_connection(where.hostname, where.port)
                writer.write(line.replace(HOST, where.netloc.encode()))
                await writer.drain()
                writer.transport.abort()
            for _ in range(20):
                assert (await client.get("/livez")).status == 200
        assert log == []


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\xff\xfe", {}),
        (b'{"workflowId": "\\ud800"}', {}),
        (b'{"workflowId": ' + b"[" * 50_000, {}),
        (b'{"workflowId": "w"', {}),
        (b'{"workflowId": "\x00"}', {}),
        (b"\x1f\x8b\x08", {}),
        (b"", {"X-Alloy-WorkflowId": "\udcff" * 2000}),
        (b"", {"X-Alloy-WorkflowId": "w" * 5000}),
        (b'{"workflowId": "w", "userId": 7}', {}),
        (b"a=b", {"Content-Type": "multipart/form-data"}),
        (b'{"workflowId": "w"}', {"Content-Type": "text/plain; charset=nope"}),
    ],
)
@pytest.mark.parametrize("signed", [False, True])
async def test_malformed_webhook_body_is_no_fault(
    tmp_path: Path, body: bytes, headers: dict[str, str], signed: bool
) -> None:  # a parameter of a test
    web: dict[str, Any] = {}
    if signed:
        create_signing_key(tmp_path)
        web = {"alloy_public_key": "alloy.pem"}
    async with web_client(tmp_path, **web) as client:
        token = issue_token(client.context.config_source, client.context.settings(), WEBHOOK_TOKEN, NOON)
        with capture_logs() as log:
            status = await call_webhook(client, token, body, headers)
        assert status == 401 if signed else status in (202, 204)
        assert token not in str(log)
        assert not [line for line in log if line["event"] == "request failed"]


async def call_webhook(client: WebClient, token: str, body: bytes, headers: dict[str, str]) -> int:
    lines = [
        f"POST /hooks/alloy/{token} HTTP/1.1",
        f"Host: {urlsplit(client.addresses.web_ui).netloc}",
        f"Content-Length: {len(body)}",
        "X-Alloy-Signature: 00ff",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    head = "\r\n".join([*lines, "", ""]).encode(errors="surrogateescape")
    return headers_of(await exchange(client.addresses.web_ui, (head + body,)))[0]


def test_thousands_of_bad_requests_are_one_line_of_the_log(installation: Installation) -> None:
    """The log of a real daemon goes directly to a file."""
    installation.change("web", listen="127.0.0.1:0")
    with installation.start() as daemon:
        page = web_address(daemon)
        path = urlsplit(create_webhook(installation, page)).path
        before = len(daemon.log)
        bad = f"P@ST {path} HTTP/1.1\r\nCookie: {PLANTED}\r\n\r\n".encode()

        async def flood() -> None:
            for _ in range(1000):
                assert (await exchange(page, (bad,))).split()[1] == b"400"

        asyncio.run(flood())
        written = daemon.log[before:]
        assert len(written) < 2000
        (line,) = [json.loads(each) for each in written.splitlines() if "malformed" in each]
        assert (line["kind"], line["listener"], line["caller"]) == ("malformed_request", "listen", "127.0.0.1")
        assert PLANTED not in daemon.log
        assert path not in daemon.log
        counted = 'forwarder_web_request_errors_total{kind="malformed_request"} 1000.0'
        assert eventually(lambda: counted in http_request(f"{page}/metrics")[1])
