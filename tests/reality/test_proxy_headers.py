"""The addresses, hosts and origins in the headers of proxies, load balancers and browsers."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict
from structlog.testing import capture_logs

from forwarder.web.login import LOGIN_BURST
from tests.web.client import WebClient, web_client

PUBLIC = "https://forwarder.example.com"
BROWSER = {"Host": "forwarder.example.com", "Origin": PUBLIC}


@asynccontextmanager
async def behind(folder: Path, *proxies: str, **web: Any) -> AsyncIterator[WebClient]:
    async with web_client(folder, **({"trusted_proxies": list(proxies), "public_url": PUBLIC} | web)) as client:
        yield client


async def refused_login(client: WebClient, *headers: tuple[str, str]) -> tuple[int, str]:
    """Return the status of a wrong login, and the client in the log."""
    with capture_logs() as log:
        sent = CIMultiDict([*BROWSER.items(), *headers])
        async with client.browser.post("/login", headers=sent, data={"token": "wrong"}) as answer:
            await answer.read()
    callers = [line["caller"] for line in log if "caller" in line]
    return answer.status, callers[0] if callers else ""


@pytest.mark.parametrize(
    ("forwarded_for", "expected"),
    [
        ("203.0.113.9:50001", "203.0.113.9"),
        ('"203.0.113.9:50001"', "203.0.113.9"),
        (" 203.0.113.9 ", "203.0.113.9"),
        ("203.0.113.9,", "203.0.113.9"),
        (", ,203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:50001, 127.0.0.2:443", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9:1", "203.0.113.9"),
        ("203.0.113.9:_port", "203.0.113.9"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("::FFFF:cb00:7109", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:50001", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:443", "fe80::1"),
        ("203.0.113.9, ::ffff:127.0.0.2", "203.0.113.9"),
        ("203.0.113.9, [::ffff:127.0.0.2]:80", "203.0.113.9"),
        ("unknown", "unknown"),
        ("_hidden", "_hidden"),
        ("203.0.113.9, _hidden", "_hidden"),
        ("\u202e\u001b[2J", "???[2J"),
        ("", "127.0.0.1"),
        (" , ", "127.0.0.1"),
    ],
)
async def test_client_address_is_read_in_every_spelling(tmp_path: Path, forwarded_for: str, expected: str) -> None:
    async with behind(tmp_path, "127.0.0.0/8") as client:
        sent = forwarded_for.replace("\u001b", "\u202d")  # the client of this test refuses to send a control character
        _, caller = await refused_login(client, ("X-Forwarded-For", sent))
        assert re.sub(r"\?+", "???", caller) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-For", "203.0.113.9:50001")], "203.0.113.9"),
        ([("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "127.0.0.3")], "203.0.113.9"),
        ([("Forwarded", "for=203.0.113.9")], "203.0.113.9"),
        ([("Forwarded", 'proto=https; For="[2001:db8::1]:4711"; by=127.0.0.1')], "2001:db8::1"),
        ([("Forwarded", 'for=198.51.100.1, for="203.0.113.9:80";host="a,b"')], "203.0.113.9"),
        ([("Forwarded", "for=198.51.100.1"), ("Forwarded", "for=203.0.113.9, for=127.0.0.4")], "203.0.113.9"),
        ([("Forwarded", 'for="')], "127.0.0.1"),
        ([("Forwarded", "for=unknown")], "unknown"),
        ([("Forwarded", "for=198.51.100.1"), ("X-Forwarded-For", "203.0.113.9")], "203.0.113.9"),
    ],
)
async def test_client_address_is_found_in_several_headers(
    tmp_path: Path, headers: list[tuple[str, str]], expected: str
) -> None:
    async with behind(tmp_path, "127.0.0.0/8") as client:
        assert (await refused_login(client, *headers))[1] == expected


@pytest.mark.parametrize(
    "forwarded_for",
    [
        "203.0.113.9:{}",
        "[2001:db8::1]:{}",
        "2001:db8::{}",
        "[2001:db8:0:0:{}::1]:443",
        "::ffff:203.0.113.9",
        "_hidden{}",
        "unknown:{}",
        "198.51.100.{}, 203.0.113.9",
    ],
)
async def test_one_client_in_many_spellings_is_limited(tmp_path: Path, forwarded_for: str) -> None:
    async with behind(tmp_path, "127.0.0.1") as client:
        answers = [
            (await refused_login(client, ("X-Forwarded-For", forwarded_for.format(50 + number))))[0]
            for number in range(LOGIN_BURST + 1)
        ]
        assert answers == [401] * LOGIN_BURST + [429]
        assert (await refused_login(client, ("X-Forwarded-For", "203.0.113.77")))[0] == 401
        assert (await refused_login(client, ("X-Forwarded-For", "2001:db8:1::1")))[0] == 401


@pytest.mark.parametrize("proxy", ["::ffff:127.0.0.1", "::ffff:127.0.0.0/104", "::ffff:7f00:1/128", "127.0.0.1/32"])
async def test_trusted_proxy_may_be_an_ipv6_address(tmp_path: Path, proxy: str) -> None:
    async with behind(tmp_path, proxy) as client:
        assert (await refused_login(client, ("X-Forwarded-For", "203.0.113.9:1")))[1] == "203.0.113.9"


@pytest.mark.parametrize(
    ("public_url", "host", "origin"),
    [
        (PUBLIC, "forwarder.example.com:443", PUBLIC),
        (PUBLIC, "forwarder.example.com.", PUBLIC),
        (PUBLIC, "forwarder.example.com.:443", f"{PUBLIC}.:443"),
        (PUBLIC, "FORWARDER.Example.COM", "https://Forwarder.EXAMPLE.com"),
        (PUBLIC, "forwarder.example.com:", f"{PUBLIC}:443"),
        (PUBLIC, "forwarder.example.com:0443", f"{PUBLIC}."),
        (f"{PUBLIC}:443", "forwarder.example.com", PUBLIC),
        (f"{PUBLIC}.", "forwarder.example.com", PUBLIC),
        (f"{PUBLIC}:8443", "forwarder.example.com:8443", f"{PUBLIC}:8443"),
        ("https://b\u00fccher.example", "xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example", "XN--BCHER-KVA.example:443", "https://xn--bcher-kva.example."),
        ("https://[2001:db8::1]", "[2001:DB8:0::1]:443", "https://[2001:db8::1]"),
        ("https://[2001:db8:0::1]:8443", "[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
async def test_same_origin_in_another_spelling_is_accepted(
    tmp_path: Path, public_url: str, host: str, origin: str
) -> None:
    async with behind(tmp_path, "127.0.0.1", public_url=public_url) as client:
        answer = await client.change("/login", {"Host": host, "Origin": origin}, data={"token": client.token})
        assert answer.status == 303


@pytest.mark.parametrize(
    "origin",
    [
        *("null", "", "https://forwarder.example.com..", "https://forwarder.example.com:444", "forwarder.example.com"),
        *("http://forwarder.example.com", "https://forwarder.example.com/", "https://forwarder.example.com, null"),
        *("https://user@forwarder.example.com", "https://forwarder.example.com@evil.example", "https://example.com"),
        *("https://forwarder.example.com.evil.example", "https://forwarder.example.com:99999", "https://[::1"),
        *("https://forwarder.example.com%2eevil", "https://.forwarder.example.com", "file://", "https://"),
    ],
)
async def test_another_origin_is_refused(tmp_path: Path, origin: str) -> None:
    async with behind(tmp_path, "127.0.0.1") as client:
        answer = await client.change("/login", BROWSER | {"Origin": origin}, data={"token": client.token})
        assert answer.status == 403


@pytest.mark.parametrize(
    "host",
    [
        *("forwarder.example.com..", "forwarder.example.com:80", "forwarder.example.com:x", "forwarder.example.com/"),
        *("evil.example", "forwarder.example.com, evil.example", "user@forwarder.example.com", "[::1", "127.0.0.2"),
        *("forwarder.example.com:443:443", "example.com", "forwarder.example.com#", ".", ":443", "[]", "\u00e9"),
    ],
)
async def test_another_host_is_refused(tmp_path: Path, host: str) -> None:
    async with behind(tmp_path, "127.0.0.1") as client:
        assert (await client.get("/login", headers={"Host": host})).status == 421


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return socket.has_dualstack_ipv6()


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


@needs_ipv6
async def test_listener_on_all_ipv6_addresses_accepts_ipv4(tmp_path: Path) -> None:
    async with behind(tmp_path, "127.0.0.1", listen="[::]:0", health_listen="[::]:0") as client:
        assert client.addresses.web_ui.startswith("http://[::1]:")
        assert client.addresses.health.startswith("http://[::1]:")
        for address in (client.addresses.health, client.addresses.health.replace("[::1]", "127.0.0.1")):
            async with client.browser.get(f"{address}/livez") as answer:
                assert answer.status == 200
        page = client.addresses.web_ui.replace("[::1]", "127.0.0.1")
        with capture_logs() as log:
            async with client.browser.post(
                f"{page}/login", headers=BROWSER | {"X-Forwarded-For": "203.0.113.9:50001"}, data={"token": "wrong"}
            ) as answer:
                assert answer.status == 401
        assert [line["caller"] for line in log if "caller" in line] == ["203.0.113.9"]


@needs_ipv6
async def test_ipv4_client_of_an_ipv6_listener_is_shown_as_ipv4(tmp_path: Path) -> None:
    async with behind(tmp_path, "10.0.0.1", listen="[::]:0") as client:
        page = client.addresses.web_ui.replace("[::1]", "127.0.0.1")
        with capture_logs() as log:
            async with client.browser.post(f"{page}/login", headers=BROWSER, data={"token": "wrong"}):
                pass
        assert [line["caller"] for line in log if "caller" in line] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("listen", "address"),
    [("0.0.0.0:0", "http://127.0.0.1:"), ("localhost:0", "http://localhost:"), ("127.0.0.1:0", "http://127.0.0.1:")],
)
async def test_logged_address_can_be_opened(tmp_path: Path, listen: str, address: str) -> None:
    async with behind(tmp_path, "127.0.0.1", listen=listen, health_listen=listen) as client:
        for each in (client.addresses.web_ui, client.addresses.health):
            assert each.startswith(address)
            async with client.browser.get(f"{each}/livez") as answer:
                assert answer.status == 200


async def test_mapped_listen_address_is_ipv4(tmp_path: Path) -> None:
    async with (
        web_client(tmp_path, listen="", health_listen="[::ffff:127.0.0.1]:0") as client,
        client.browser.get(f"{client.addresses.health}/livez") as answer,
    ):
        assert answer.status == 200
