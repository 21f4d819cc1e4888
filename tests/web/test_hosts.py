"""Trusted proxies: the peers that may connect, and the client address that is logged."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs

from forwarder.web.hosts import AllowedHosts
from tests.factories import some_settings
from tests.web.client import WebClient, web_client

PUBLIC = "https://forwarder.example.com"
BROWSER = {"Host": "forwarder.example.com", "Origin": PUBLIC}


@asynccontextmanager
async def client_behind_proxy(folder: Path, *proxies: str, **web: Any) -> AsyncIterator[WebClient]:
    async with web_client(folder, trusted_proxies=list(proxies), public_url=PUBLIC, **web) as client:
        yield client


async def caller(client: WebClient, forwarded_for: str) -> Any:
    """Return the caller in the log line of a rejected login."""
    with capture_logs() as log:
        await client.change("/login", BROWSER | {"X-Forwarded-For": forwarded_for}, data={"token": "wrong"})
    return log[0]["caller"]


@pytest.mark.parametrize(
    ("forwarded_for", "expected"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("198.51.100.7, 127.0.0.3", "198.51.100.7"),
        ("203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("203.0.113.9, made up", "made up"),
        ("", "127.0.0.1"),
        ("x" * 1000, "x" * 64),
    ],
)
async def test_caller_is_the_peer_of_the_last_trusted_proxy(tmp_path: Path, forwarded_for: str, expected: str) -> None:
    async with client_behind_proxy(tmp_path, "127.0.0.0/8") as client:
        assert await caller(client, forwarded_for) == expected


async def test_forwarded_for_of_an_untrusted_peer_is_ignored(tmp_path: Path) -> None:
    async with client_behind_proxy(tmp_path, "10.0.0.5") as client:
        assert await caller(client, "198.51.100.7") == "127.0.0.1"


async def test_cookie_through_a_proxy_is_secure(tmp_path: Path) -> None:
    async with client_behind_proxy(tmp_path, "127.0.0.1") as client:
        response = await client.change("/login", BROWSER, data={"token": client.token})
        assert response.cookies["__Host-forwarder"]["secure"] is True


async def test_proxy_with_the_listen_address_as_host_is_accepted(tmp_path: Path) -> None:
    async with client_behind_proxy(tmp_path, "127.0.0.1") as client:
        assert (await client.change("/login", {"Origin": PUBLIC}, data={"token": client.token})).status == 303


class Transport:
    """A connection with a peer at this address."""

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self._peer, 50_000) if name == "peername" else default


@pytest.mark.parametrize(
    ("peer", "proxies", "has_tls", "is_allowed"),
    [
        ("10.1.2.3", ["10.0.0.0/8"], False, True),
        ("127.0.0.1", ["10.0.0.0/8"], False, True),
        ("::1", ["10.0.0.0/8"], False, True),
        ("198.51.100.7", ["10.0.0.0/8"], False, False),
        ("198.51.100.7", ["10.0.0.0/8"], True, True),
        ("198.51.100.7", [], False, True),
    ],
)
def test_peer_without_tls_must_be_a_trusted_proxy(
    peer: str, proxies: list[str], *, has_tls: bool, is_allowed: bool
) -> None:
    """A peer on this machine is also accepted."""
    tls = {"tls_cert": "cert.pem", "tls_key": "key.pem"} if has_tls else {}
    settings = some_settings(web={"trusted_proxies": proxies, "public_url": PUBLIC, **tls}).web
    request = make_mocked_request("GET", "/", transport=Transport(peer))
    assert AllowedHosts.of(settings, 8787).is_peer_allowed(request) == is_allowed


def test_public_url_is_normalized_as_browsers_do() -> None:
    allowed_hosts = AllowedHosts.of(some_settings(web={"public_url": "https://Forwarder.Example.com:443"}).web, 80)
    assert allowed_hosts.origins == {"http://127.0.0.1", "http://localhost", "http://[::1]", PUBLIC}
