"""A client for PutEvents alone, without the layers of the SDK: a storm of failures consists of this one call.

The client sends the same request as the SDK, and raises errors of the SDK and of aiohttp, so that `responses.py`
classifies the errors of both clients. The SDK makes all other calls, and finds the keys, the address and the proxy.
"""

import asyncio
import os
import ssl
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec
from aiohttp.connector import Connection
from botocore.exceptions import ClientError
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.parsers import create_parser
from botocore.utils import get_environ_proxies
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic_core import to_json
from yarl import URL

from forwarder import __version__
from forwarder.aws import aiohttp_private
from forwarder.aws.http_session import CONNECT_ERRORS, NeverSent, ResponseUnreadable, read_body
from forwarder.aws.sigv4 import FrozenKeys, Signer
from forwarder.errors import DestinationRefused
from forwarder.machine_errors import key_log_error
from forwarder.untrusted_json import decode_or_none

OPERATION = "PutEvents"
UNSIGNED_HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"forwarder/{__version__}"}
"""Headers that are not signed, because a proxy may change them."""

KEEP_ALIVE_SECONDS = 12.0
"""The time for which an idle connection is kept.

AWS closes idle connections after 20 seconds. A request that is sent during the closing would have an unknown outcome.
"""

INTERIM_STATUSES = (HTTPStatus.CONTINUE, HTTPStatus.PROCESSING, HTTPStatus.EARLY_HINTS)
"""Statuses of responses that precede the final response."""

MAX_INTERIM_RESPONSES = 10

_response_decoder = msgspec.json.Decoder(dict[str, Any])
_error_parser = create_parser("json")


class PutEventsClient:
    """A client for one endpoint. Entering it with `async with` reads the trusted certificates.

    `url` is the SDK's endpoint. `seconds` limits the wait for a connection, and then between two bytes of a response.
    `bundle` is a file of certificates, or empty for the ones that the SDK trusts. The environment names the proxies.
    The caller limits the time for which a server may read a large body.
    """

    def __init__(self, url: str, region: str, *, seconds: float, connections: int, bundle: str = "") -> None:
        address = urlsplit(url)
        self._url = URL(urlunsplit(address._replace(path=address.path or "/")), encoded=True)
        self._signer = Signer(url, region)
        proxy = ProxyConfiguration(get_environ_proxies(url)).proxy_url_for(url)
        self._proxy = URL(proxy) if proxy else None
        # A request through a plain HTTP proxy names the whole URL.
        target = str(self._url) if proxy and address.scheme == "http" else self._url.raw_path_qs
        self._request_line = f"POST {target} HTTP/1.1"
        self._timeout_seconds = seconds
        self._connections = connections
        self._bundle = bundle
        self._exit_stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        ssl_context = await asyncio.to_thread(_ssl_context, self._bundle) if self._url.scheme == "https" else True
        connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=KEEP_ALIVE_SECONDS, ssl=ssl_context)
        self._connector = await self._exit_stack.enter_async_context(connector)
        self._template_request = aiohttp_private.connection_request(
            self._url,
            UNSIGNED_HEADERS,
            self._proxy,
            UNSIGNED_HEADERS | {"Host": self._url.host_port_subcomponent or ""},
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit_stack.aclose()

    def put_events(self, keys: FrozenKeys, entries: Sequence[Mapping[str, Any]]) -> Awaitable[dict[str, Any]]:
        """Return an awaitable of the response. Like in the SDK, a response that cannot be parsed is an empty dict.

        Bytes in `entries` have to be UTF-8. Raise ValueError at once for other bytes. Awaiting raises
        DestinationRefused, NeverSent or one of CONNECT_ERRORS if nothing was sent. It raises the SDK's ClientError if
        the response is a refusal, or an error of aiohttp if there is no complete response.
        """
        body = to_json({"Entries": entries})  # the fastest encoder that makes a JSON string from bytes
        return self._send_signed(keys, body)

    async def _send_signed(self, keys: FrozenKeys, body: bytes) -> dict[str, Any]:
        try:
            headers = self._signer.headers(keys, body, int(time.time()))
        except Exception as error:  # noqa: BLE001  # keys come from many sources and can have any type
            raise DestinationRefused(
                f"the AWS keys cannot sign a request: {type(error).__name__}",
                code="credentials",
                hint="check the AWS keys: `forwarder check`",
            ) from None
        return await self.send(body, headers)

    async def send(self, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """Send one request. A redirect is not followed: the server that returns it may have accepted the events."""
        connection = await self._acquire_connection()
        try:
            status, response_headers, response_body = await self._exchange(connection, body, headers)
        except BaseException:
            connection.close()  # the rest of this response must not become the response to another request
            raise
        connection.release()
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            details = {"status_code": status, "headers": response_headers, "body": response_body}
            raise ClientError(_error_parser.parse(details, None), OPERATION)
        return decode_or_none(response_body, _response_decoder) or {}

    async def _acquire_connection(self) -> Connection:
        """Return a connection. Every error that this raises means that the request was never sent."""
        try:
            return await aiohttp_private.acquire(self._connector, self._template_request, self._timeout_seconds)
        except CONNECT_ERRORS:
            raise
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error
        except Exception as error:
            raise NeverSent(type(error).__name__) from error

    async def _exchange(
        self, connection: Connection, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, CIMultiDictProxy[str], bytes]:
        """Send one request, and return the status, the headers and the body of its response."""
        all_headers = CIMultiDict(self._template_request.headers)
        all_headers.update(headers, **{"content-length": str(len(body))})
        try:
            writer = await aiohttp_private.write_head(
                connection, self._request_line, all_headers, self._timeout_seconds
            )
        except ValueError as error:  # a header that cannot be written, such as a token with a line break
            raise NeverSent(type(error).__name__) from error
        await aiohttp_private.write_body(connection, writer, body)
        response, content = await aiohttp_private.read_response(connection)
        for _ in range(MAX_INTERIM_RESPONSES):
            if response.code not in INTERIM_STATUSES:
                break
            response, content = await aiohttp_private.read_response(connection)
        response_body = await self._read_body(connection, response.code, response.headers, content)
        if aiohttp_private.is_sending(connection) or response.code in INTERIM_STATUSES:
            # The rest of this body, or the final response, would arrive in the next exchange on this connection.
            aiohttp_private.close_at_release(connection)
        return response.code, response.headers, response_body

    async def _read_body(
        self, connection: Connection, status: int, headers: Mapping[str, str], content: aiohttp.StreamReader
    ) -> bytes:
        """Return the body. A refusal without a readable body is still a refusal: its status is enough."""
        try:
            return await read_body(content, headers)
        except ResponseUnreadable:
            aiohttp_private.close_at_release(connection)
            if status < HTTPStatus.MULTIPLE_CHOICES:
                raise
            return b""


def _ssl_context(bundle: str) -> ssl.SSLContext:
    file = get_cert_path(bundle or os.environ.get("REQUESTS_CA_BUNDLE") or True)
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:
        if key_log_error(error):
            raise NeverSent(type(error).__name__) from error
        raise DestinationRefused(
            f"the certificates to trust cannot be read: {file}",
            code="certificates",
            hint="correct AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE or the ca_bundle of your AWS profile",
        ) from None
