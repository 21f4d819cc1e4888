"""The connections to the logs API: one httpx client, and the causes of its failures."""

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Self, TypeVar
from urllib.request import getproxies, proxy_bypass

import httpx

from forwarder.alloy.exchange import Exchange, wait_despite_cancellation
from forwarder.errors import SourceUnavailable
from forwarder.network_errors import NetworkProblem, explain, without_credentials

T = TypeVar("T")

KEEP_ALIVE_SECONDS = 5.0
"""An idle connection is used again for this long. A firewall may have dropped an older one."""

CA_VARIABLE = "SSL_CERT_FILE"

FAULT_MESSAGES = {
    "ReadTimeout": "did not respond in time",
    "WriteTimeout": "did not respond in time",
    "PoolTimeout": "did not respond in time",
    "RemoteProtocolError": "cannot be reached: it broke off its response",
    "ReadError": "cannot be reached: the connection broke",
    "WriteError": "cannot be reached: the connection broke",
    "LocalProtocolError": "cannot be called: the request is not valid HTTP",
}
"""Failures after a connection was made. The messages have no address, because a query may name a user."""

INVALID_HTTP_HINT = "a server or proxy sends what HTTP does not allow: check base_url, and the proxies before the API"

_ENDED = ("disconnected", "closed", "too little data")


def _http_fault(text: str) -> str:
    """Return the fault in a message of the HTTP library, without the bytes that the message quotes.

    Return an empty text if the connection ended.
    """
    if any(word in text for word in _ENDED):
        return ""
    return text.partition(": b")[0].partition("(")[0].strip()[:80]


class Connections:
    """A pool of up to `count` connections to `server`. It follows no redirect and keeps no cookie.

    `seconds` is the longest wait for a connection, and then between two bytes of a response.
    """

    def __init__(self, server: httpx.URL, *, headers: Mapping[str, str], count: int, seconds: float) -> None:
        self._server = server
        self._base = str(server)
        self._headers = httpx.Headers(headers)
        self._timeout = httpx.Timeout(seconds).as_dict()
        self._limits = httpx.Limits(
            max_connections=count, max_keepalive_connections=count, keepalive_expiry=KEEP_ALIVE_SECONDS
        )

    async def __aenter__(self) -> Self:
        """Raise SourceUnavailable if the environment names a proxy that cannot be used."""
        try:
            no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
            # httpx parses every entry of NO_PROXY as a URL pattern, and fails for networks and addresses of IPv6.
            self._client = httpx.AsyncClient(
                limits=self._limits,
                verify=self._tls_context(),
                cookies=no_cookies,
                trust_env=False,
                proxy=proxy_for(self._server) or None,
            )
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:  # httpx imports the SOCKS package
            raise self._creation_error(error) from None
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(exc_type, error, trace)

    def _tls_context(self) -> ssl.SSLContext:
        """Return a context with the certificates of the machine, or one that trusts no server if TLS is not used.

        Loading the certificates takes more than 20 ms. Raise OSError if they cannot be loaded.
        """
        addresses = (str(self._server), proxy_for(self._server))
        uses_tls = any(address.lower().startswith("https:") for address in addresses)
        return ssl.create_default_context() if uses_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def fetch(self, method: str, path: str, read: Callable[[httpx.Response], Awaitable[T]]) -> T:
        """Send a request, and return the result of `read` for the response.

        `path` is relative to the server's path, and percent-encoded. Raise httpx.HTTPError if there is no response,
        SourceUnavailable for a stale response to a POST, or the error of `read`. The exchange runs in a separate task,
        so that a cancellation reaches it only at points where httpx does not lose a slot of its pool.
        """
        exchange = Exchange()
        task = asyncio.create_task(self._fetch(method, path, read, exchange))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            exchange.cancel(task)
            await wait_despite_cancellation(task)
            raise

    async def _fetch(
        self, method: str, path: str, read: Callable[[httpx.Response], Awaitable[T]], exchange: Exchange
    ) -> T:
        response = await self._send(method, path, exchange)
        try:
            content = await read(response)
            if not is_delimited(response):  # it ended with the connection, which httpx may use again over TLS
                exchange.is_interruptible = False
                await response.extensions["network_stream"].aclose()
            return content
        finally:
            exchange.is_interruptible = False
            await response.aclose()

    async def _send(self, method: str, path: str, exchange: Exchange) -> httpx.Response:
        """Send a request, and return the response without its body.

        A response that was on the connection before the request is stale, and its connection is closed. A GET is then
        sent again on another connection. A POST is not, because the server may have processed it: raise
        SourceUnavailable.
        """
        extensions = {"timeout": self._timeout, "trace": exchange.trace}
        while True:
            exchange.begin()
            request = httpx.Request(method, f"{self._base}{path}", headers=self._headers, extensions=extensions)
            try:
                response = await self._client.send(request, stream=True)
            except httpx.RemoteProtocolError:
                if not exchange.is_stale or method != "GET":
                    raise
                continue
            if not exchange.is_stale:
                return response
            exchange.is_interruptible = False
            await response.aclose()  # a response that was not read closes its connection
            if method != "GET":
                raise SourceUnavailable("the logs API sent a response before the request")

    def failure(self, error: httpx.HTTPError) -> SourceUnavailable:
        """Return the error for the caller, with its cause and a hint."""
        name = type(error).__name__
        problem = None if name in FAULT_MESSAGES else self._explain(error)
        if problem is not None:
            return SourceUnavailable(problem.message, hint=problem.hint)
        if name == "RemoteProtocolError" and (fault := _http_fault(str(error))):
            return SourceUnavailable(f"the logs API responded with invalid HTTP: {fault}", hint=INVALID_HTTP_HINT)
        way = f" through the proxy {without_credentials(proxy)}" if (proxy := proxy_for(self._server)) else ""
        return SourceUnavailable(f"the logs API {FAULT_MESSAGES.get(name, f'cannot be reached: {name}')}{way}")

    def _creation_error(self, error: Exception) -> SourceUnavailable:
        problem = self._explain(error)
        if problem is not None:
            return SourceUnavailable(problem.message, hint=problem.hint)
        is_address = isinstance(error, ValueError | httpx.InvalidURL)  # no other address is read here
        cause = "a proxy's address is not valid" if is_address else type(error).__name__
        hint = "check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY: http://HOST:PORT"
        return SourceUnavailable(f"the client of the logs API cannot be created: {cause}", hint=hint)

    def _explain(self, error: Exception) -> NetworkProblem | None:
        return explain(
            error,
            target=f"the logs API {_host_and_port(self._server)}",
            ca_variable=CA_VARIABLE,
            proxy=proxy_for(self._server),
            environ=os.environ,
        )


def is_delimited(response: httpx.Response) -> bool:
    """Return whether the head of a response defines the end of its body (RFC 9112, 6.3).

    Without that, the body ends with the connection.
    """
    headers = response.headers
    return "content-length" in headers or "transfer-encoding" in headers or response.status_code in (204, 304)


def proxy_for(server: httpx.URL) -> str:
    """Return the URL of the proxy that the environment names for a server, or an empty text.

    An entry of NO_PROXY is a host, the end of a host, or either with a port. Other entries match no server.
    """
    proxies = getproxies()
    proxy = proxies.get(server.scheme) or proxies.get("all") or ""
    # The standard library compares texts, and people write an IPv6 address with brackets or without.
    addresses = {_host_and_port(server), _host_and_port(server).replace("[", "").replace("]", "")}
    if not proxy or any(proxy_bypass(address) for address in addresses):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _host_and_port(server: httpx.URL) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port or (443 if server.scheme == 'https' else 80)}"
