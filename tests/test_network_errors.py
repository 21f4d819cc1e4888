"""The cause of a failed connection is found in the errors of each library that is in use."""

import asyncio
import errno
import socket
import socketserver
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import aiohttp
import boto3
import httpx
import pytest
from aiobotocore.config import AioConfig
from botocore.config import Config

from forwarder.network_errors import NetworkProblem, explain, without_credentials
from tests.fakes.certificates import DAY, self_signed
from tests.fakes.sdk_clients import shared_session
from tests.harness.ports import free_port

TARGET = "the peer peer.example:443"
PASSWORD = "pr0xy-s3cret"
SECONDS = 5

Get = Callable[[str, str | None, str | None], BaseException]
"""A request for a URL, with or without a proxy and a file of trusted certificates. It returns the error."""


def by_httpx(url: str, proxy: str | None, ca: str | None) -> BaseException:
    async def get() -> None:
        trust = ssl.create_default_context(cafile=ca)
        async with httpx.AsyncClient(proxy=proxy, verify=trust, trust_env=False, timeout=SECONDS) as client:
            await client.get(url)

    return raised(lambda: asyncio.run(get()))


def by_aiohttp(url: str, proxy: str | None, ca: str | None) -> BaseException:
    async def get() -> None:
        trust = ssl.create_default_context(cafile=ca)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(SECONDS)) as session:
            await session.get(url, proxy=proxy, ssl=trust)

    return raised(lambda: asyncio.run(get()))


def options(url: str, ca: str | None) -> dict[str, Any]:
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    return {"region_name": "eu-central-1", "endpoint_url": url, "verify": ca, **keys}


def limits(proxy: str | None) -> dict[str, Any]:
    proxies = {"http": proxy, "https": proxy} if proxy else {}
    return {"proxies": proxies, "retries": {"max_attempts": 0}, "connect_timeout": SECONDS, "read_timeout": SECONDS}


def by_aiobotocore(url: str, proxy: str | None, ca: str | None) -> BaseException:
    async def get() -> None:
        config = AioConfig(**limits(proxy))
        async with shared_session().create_client("events", config=config, **options(url, ca)) as client:
            await client.list_event_buses()

    return raised(lambda: asyncio.run(get()))


def by_boto3(url: str, proxy: str | None, ca: str | None) -> BaseException:
    client = boto3.client("events", config=Config(**limits(proxy)), **options(url, ca))
    try:
        return raised(client.list_event_buses)
    finally:
        client.close()


def raised(act: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as info:  # noqa: PT011  # each library has its own
        act()
    return info.value


LIBRARIES = pytest.mark.parametrize("get", [by_httpx, by_aiohttp, by_aiobotocore, by_boto3])


def problem(error: BaseException, *, proxy: str = "", ca_variable: str = "SSL_CERT_FILE", **environ: str) -> str:
    found = explain(error, target=TARGET, ca_variable=ca_variable, proxy=proxy, environ=environ)
    assert isinstance(found, NetworkProblem), repr(error)
    assert found.hint
    assert PASSWORD not in f"{found.message} {found.hint}"
    assert found.message.startswith(TARGET)
    return f"{found.message} ({found.hint})"


@contextmanager
def serving(data: bytes, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run a server that sends these bytes to each client and closes. Yield its host and port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), tls.wrap_socket(self.request, server_side=True) if tls else self.request as line:
                line.recv(65536)
                line.sendall(data)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


@LIBRARIES
@pytest.mark.parametrize(
    ("made", "is_trusted", "words"),
    [
        ({}, False, ("not trusted", "self-signed", "SSL_CERT_FILE")),
        ({"ended": DAY}, True, ("has expired", "clock")),
        ({"ended": -60 * DAY}, True, ("not valid yet", "clock")),
        ({"address": "127.0.0.2"}, True, ("for another",)),
    ],
    ids=["untrusted", "expired", "not yet", "another"],
)
def test_certificate_is_explained(
    get: Get, tmp_path: Path, made: dict[str, Any], is_trusted: bool, words: tuple[str, ...]
) -> None:
    certificate = self_signed(tmp_path, **made)
    with serving(OK, certificate.server) as place:
        text = problem(get(f"https://{place}/", None, str(certificate.file) if is_trusted else None))
    assert [word for word in words if word not in text] == []


@LIBRARIES
def test_plain_http_on_a_tls_port_is_explained(get: Get) -> None:
    with serving(OK) as place:
        assert "does not respond with TLS" in problem(get(f"https://{place}/", None, None))


@LIBRARIES
def test_closed_handshake_is_explained(get: Get) -> None:
    with serving(b"") as place:
        assert "closed without a response" in problem(get(f"https://{place}/", None, None))


@LIBRARIES
def test_refused_connection_is_explained(get: Get) -> None:
    assert "the connection is refused" in problem(get(f"https://127.0.0.1:{free_port()}/", None, None))


@LIBRARIES
def test_unresolvable_host_is_explained(get: Get) -> None:
    assert "cannot be resolved" in problem(get("https://nowhere.invalid/", None, None))


@LIBRARIES
@pytest.mark.parametrize(("status", "word"), [(407, "refuses"), (403, "refuses"), (502, "cannot connect")])
def test_refusing_proxy_is_explained(get: Get, status: int, word: str) -> None:
    with serving(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status) as place:
        proxy = f"http://someone:{PASSWORD}@{place}"
        text = problem(get("https://nowhere.invalid/", proxy, None), proxy=proxy)
    assert f"the proxy {place} {word}" in text
    assert f"({status})" in text


@LIBRARIES
def test_unreachable_proxy_is_explained(get: Get) -> None:
    place = f"127.0.0.1:{free_port()}"
    proxy = f"http://someone:{PASSWORD}@{place}"
    text = problem(get("https://nowhere.invalid/", proxy, None), proxy=proxy)
    assert f"the proxy {place}: the connection is refused" in text


@pytest.mark.parametrize("get", [by_aiobotocore, by_boto3])
def test_missing_bundle_of_aws_is_explained(get: Get) -> None:
    with serving(OK) as place:
        error = get(f"https://{place}/", None, "/nonexistent/ca.pem")
    text = problem(error, ca_variable="AWS_CA_BUNDLE", AWS_CA_BUNDLE="/nonexistent/ca.pem")
    assert "/nonexistent/ca.pem" in text or "does not respond with TLS" in text


def test_ca_variables_of_aws_are_separate(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    with serving(OK, certificate.server) as place:
        error = by_aiobotocore(f"https://{place}/", None, None)
    assert "set AWS_CA_BUNDLE to" in problem(error, ca_variable="AWS_CA_BUNDLE")
    elsewhere = problem(error, ca_variable="AWS_CA_BUNDLE", SSL_CERT_FILE="/etc/ca.pem")
    assert "SSL_CERT_FILE is set, but has no effect here: set AWS_CA_BUNDLE too, to /etc/ca.pem" in elsewhere
    file = str(certificate.file)
    assert f"to {file} (from REQUESTS_CA_BUNDLE)" in problem(
        error, ca_variable="AWS_CA_BUNDLE", REQUESTS_CA_BUNDLE=file
    )


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "no route"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "no route"),
        (OSError(errno.ETIMEDOUT, "Connection timed out"), "timed out"),
        (OSError(errno.EMFILE, "Too many open files"), "too many files"),
        (PermissionError(errno.EPERM, "Operation not permitted"), "forbids"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "now (no response from DNS)"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "closed without a response"),
        (TimeoutError(), "no response in time"),
    ],
    ids=str,
)
def test_error_of_the_system_is_explained_at_any_depth(error: OSError, word: str) -> None:
    group = ExceptionGroup("all attempts failed", [ExceptionGroup("some", [error])])
    outer = RuntimeError("cannot connect")
    outer.__cause__ = RuntimeError(group)
    assert word in problem(outer)


def test_most_telling_cause_comes_first() -> None:
    """A host has an IPv6 address without a route, and an IPv4 address that refuses."""
    attempts = [OSError(errno.ENETUNREACH, "unreachable"), ConnectionRefusedError(errno.ECONNREFUSED, "refused")]
    assert "refused" in problem(ExceptionGroup("all", attempts))


def test_other_errors_are_not_explained() -> None:
    cyclic = ValueError("no page")
    cyclic.__context__ = KeyError("x")
    cyclic.__context__.__context__ = cyclic
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", "/var/run/secrets/token")
    for error in (cyclic, missing, RuntimeError("407 items")):
        assert explain(error, target=TARGET, ca_variable="AWS_CA_BUNDLE", environ={}) is None


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (f"http://someone:{PASSWORD}@proxy.example:3128/", "proxy.example:3128"),
        (f"someone:{PASSWORD}@proxy.example:3128", "proxy.example:3128"),
        (f"http://someone:{PASSWORD}@[2001:db8::1]:3128", "[2001:db8::1]:3128"),
        ("https://proxy.example", "proxy.example"),
        (f"http://someone:{PASSWORD}@proxy.example:port", "(its address cannot be read)"),
        ("", ""),
    ],
)
def test_address_of_a_proxy_is_shown_without_password(url: str, place: str) -> None:
    assert without_credentials(url) == place
