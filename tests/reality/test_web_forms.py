"""Malformed forms after login are refused with a page that names the fault."""

from __future__ import annotations

import asyncio
import gzip
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from tests.web.client import CHANGES, Route, WebClient, web_client

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
BOMB = gzip.compress(b"x" * 10_000_000)

closed_changes = pytest.mark.parametrize("route", [route for route in CHANGES if not route.is_public], ids=str)


def part(headers: str, value: str = "v") -> bytes:
    return f"--b\r\n{headers}\r\n\r\n{value}\r\n--b--\r\n".encode()


DAMAGED = {
    "multipart": (MULTIPART, part('Content-Disposition: form-data; name="a"')),
    "multipart without a boundary": ("multipart/form-data", part('Content-Disposition: form-data; name="a"')),
    "multipart with another boundary": ("multipart/form-data; boundary=c", part("Content-Disposition: form-data")),
    "multipart with an endless boundary": (f"multipart/form-data; boundary={'b' * 80}", b"--b\r\n"),
    "multipart without an end": (MULTIPART, b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nv'),
    "multipart without names": (MULTIPART, part("Content-Disposition: form-data")),
    "multipart with a file": (MULTIPART, part('Content-Disposition: form-data; name="a"; filename="f"')),
    "multipart with an unknown charset": (
        MULTIPART,
        part('Content-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=nope'),
    ),
    "multipart with damaged base64": (
        MULTIPART,
        part('Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64', "%%"),
    ),
    "nested multipart": (MULTIPART, part("Content-Type: multipart/mixed; boundary=d", "--d--")),
    "empty multipart": (MULTIPART, b"--b--\r\n"),
    "JSON": ("application/json", b'{"token": "x"}'),
    "text": ("text/plain", b"token=x"),
    "no type": ("", b"token=x"),
    "a damaged type": (";;;=", b"token=x"),
    "an unknown charset": (f"{URLENCODED}; charset=nope", b"token=x"),
    "a binary charset": (f"{URLENCODED}; charset=base64", b"token=x"),
    "UTF-16": (f"{URLENCODED}; charset=utf-16", "token=x".encode("utf-16")),
    "bytes that are no UTF-8": (URLENCODED, b"token=\xff\xfe"),
    "encoded bytes that are no UTF-8": (URLENCODED, b"token=%ff%fe"),
    "a name that is no UTF-8": (URLENCODED, b"%ff=x"),
    "a lone surrogate": (URLENCODED, b"token=%ed%a0%80"),
    "NUL": (URLENCODED, b"token=a%00b"),
    "NUL in a name": (URLENCODED, b"a%00b=x"),
    "an escape sequence": (URLENCODED, b"token=%1b[2J"),
    "too many fields": (URLENCODED, b"&".join(b"f%d=x" % number for number in range(5000))),
    "a field twice": (URLENCODED, b"token=a&token=b"),
}


async def is_refused(client: WebClient, route: Route, kind: str, body: Any, **headers: str) -> tuple[int, str]:
    # The server closes the connection after a damaged body, and the client retries only a GET on a new connection.
    await client.is_logged_in()
    sent = {"Content-Type": kind, **headers}
    if not kind:
        sent.pop("Content-Type")
    skipped = ["Content-Type"] if not kind else []
    with capture_logs() as log:
        answer = await client.change(route.path, sent, data=body, skip_auto_headers=skipped)
    assert not [line for line in log if line["event"] == "request failed"]
    text = await answer.text()
    assert "<html" in text
    return answer.status, text


@pytest.mark.parametrize("case", DAMAGED)
async def test_damaged_form_is_refused_with_a_reason(tmp_path: Path, case: str) -> None:
    kind, body = DAMAGED[case]
    async with web_client(tmp_path) as client:
        await client.log_in()
        for route in CHANGES:
            if route.name in ("webhook", "setup"):  # they read no form
                continue
            if route.name == "login":
                client.clock.advance(60)  # a wrong login counts
            status, text = await is_refused(client, route, kind, body)
            assert status in (400, 415), (str(route), status)
            assert re.search(r"form", text)


@closed_changes
async def test_form_in_chunks_is_read(tmp_path: Path, route: Route) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        form = b"name=value"

        async def chunks() -> Any:
            for byte in form:
                yield bytes([byte])

        answer = await client.change(route.path, {"Content-Type": URLENCODED}, data=chunks())
        assert answer.status not in (401, 403, 415, 500)


@closed_changes
async def test_compressed_form_is_refused(tmp_path: Path, route: Route) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        form = gzip.compress(b"token=x")
        for body, statuses in ((form, [415]), (form[:-10], [400, 415]), (b"no gzip", [400]), (BOMB, [413])):
            status, _ = await is_refused(client, route, URLENCODED, body, **{"Content-Encoding": "gzip"})
            assert status in statuses


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retry", ""),
        ("retry", "x" * 5000),
        ("purge", "\u2028" * 600),
        ("retry", "unknown"),
        ("purge", "'; drop table entries; --"),
        ("retry", "\ud7ff\U0010ffff"),
    ],
)
async def test_unknown_dead_letter_id_changes_nothing(tmp_path: Path, name: str, value: str) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        answer = await client.change("/dead", data={name: value})
        assert answer.status in (303, 400)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source.workflows", "a user="),
        ("source.workflows", "x" * 3000),
        ("source.workflows", "\n".join(f"w{number}" for number in range(5000))),
        ("source.version", "../.."),
        ("destination.region", "é" * 1000),
        ("destination.event_bus", "arn:" + "a" * 5000),
        ("destination.role_arn", "\u202e"),
        ("event.source", "9" * 400),
        ("event.detail_type", "\U0001f600" * 300),
        ("source.discover", "maybe"),
        ("aws-access-key-id", "é"),
        ("file-digest", "ff"),
    ],
)
async def test_unusual_setting_is_no_fault_of_the_page(tmp_path: Path, name: str, value: str) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        for path in ("/settings", "/settings/check", "/settings/test"):
            with capture_logs() as log:
                answer = await client.change(path, data={name: value})
            assert answer.status < 500
            assert not [line for line in log if line["event"] == "request failed"]


@pytest.mark.parametrize(
    "query",
    [
        *("", "id=", "id=%00", "id=%ff", "id=%ed%a0%80", "id=%", "id=%zz", "id=a&id=b", "id[]=a", "id=%F0%9F%98%80"),
        *("id=" + "x" * 5000, "id=%ed%a0%80" + "x" * 2000, "&&&===", "id=%250a"),
    ],
)
@pytest.mark.parametrize("path", ["/event", "/event/detail"])
async def test_malformed_query_is_not_found(tmp_path: Path, path: str, query: str) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        assert await raw_status(client, f"GET {path}?{query} HTTP/1.1") == 404


async def raw_status(client: WebClient, line: str) -> int:
    """Send a request line unchanged, with the cookie of the client."""
    parts = urlsplit(client.addresses.web_ui)
    cookie = "; ".join(f"{each.key}={each.value}" for each in client.browser.cookie_jar)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"{line}\r\nHost: {parts.netloc}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1])
