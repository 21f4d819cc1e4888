"""The HTTP session of the SDK's clients, and the limits of the responses of AWS.

A response that exceeds a limit is not read to its end. If the response is a success, the request
fails with ResponseUnreadable. If it is a refusal, its body counts as empty, because the status is enough.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

MAX_RESPONSE_BYTES = 1_048_576
"""The limit of a response. PutEvents returns less than 10 KiB for 10 entries, and a bus policy has at most 10 KiB."""

CONNECT_ERRORS = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
"""Errors that aiohttp raises only in the connect phase. They name the server, so NeverSent does not replace them."""


class NeverSent(aiohttp.ClientConnectionError):
    """An error that was raised before the first byte of the body was sent."""


class ResponseUnreadable(Exception):  # named like the errors of aiohttp
    """A response that is larger than allowed, or compressed although that was not requested."""


async def read_body(
    content: aiohttp.StreamReader, headers: Mapping[str, str], max_bytes: int = MAX_RESPONSE_BYTES
) -> bytes:
    """Return the whole body. Raise ResponseUnreadable if it is compressed or larger than `max_bytes`."""
    if (encoding := headers.get("Content-Encoding", "identity").strip().lower()) not in ("", "identity"):
        raise ResponseUnreadable(f"the response is compressed ({encoding[:20]}), which was not requested")
    body = bytearray()
    while chunk := await content.readany():
        body += chunk
        if len(body) > max_bytes:
            raise ResponseUnreadable(f"the response is larger than {max_bytes} bytes")
    return bytes(body)


class Body(aiohttp.BytesPayload):
    """A request body that records that its first byte is about to be written."""

    is_started = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self.is_started = True
        await super().write_with_length(writer, content_length)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self.is_started = True
        await super().write(writer)


class BoundedSession(AIOHTTPSession):  # type: ignore[misc]  # the SDK ships no types
    """A session that follows no redirects, limits responses, and separates "never sent" from "unknown".

    Keys and events are sent only to the address in the settings. The blocking SDK follows no redirects either.
    """

    max_response_bytes = MAX_RESPONSE_BYTES

    async def _get_session(self, proxy_url: str | None) -> Any:
        try:
            session = await super()._get_session(proxy_url)
        except Exception as error:  # an unreadable file of certificates, or an invalid proxy
            raise NeverSent(type(error).__name__) from error
        return _BoundedClient(session, self.max_response_bytes)


@dataclass(frozen=True, slots=True)
class Response:
    """The attributes of aiohttp's response that the SDK uses, with the whole body."""

    url: URL
    status: int
    raw_headers: Any
    body: bytes

    async def read(self) -> bytes:
        return self.body


@dataclass(frozen=True, slots=True)
class _BoundedClient:
    """A wrapper of aiohttp's session, as the SDK uses it."""

    session: aiohttp.ClientSession
    max_response_bytes: int

    async def request(self, method: str, **options: Any) -> Response:
        """Return the response with its body. Raise NeverSent if the request failed before its body was sent."""
        data = options.pop("data", None)
        body = Body(data.encode() if isinstance(data, str) else data) if isinstance(data, (bytes, str)) else None
        timeout = options.pop("timeout", self.session.timeout)
        # Without `connect`, only each step has a limit, and a proxy that is silent after CONNECT has none.
        timeout = aiohttp.ClientTimeout(
            connect=timeout.sock_connect, sock_connect=timeout.sock_connect, sock_read=timeout.sock_read
        )
        try:
            response = await self.session.request(
                method, **options, data=data if body is None else body, timeout=timeout, allow_redirects=False
            )
        except CONNECT_ERRORS:
            raise
        except Exception as error:
            if body is None or body.is_started:
                raise
            raise NeverSent(type(error).__name__) from error
        async with response:
            body_read = await _read_bounded(response, self.max_response_bytes)
            return Response(response.url, response.status, response.raw_headers, body_read)


async def _read_bounded(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Return the body. A refusal without a readable body is still a refusal: its status is enough."""
    try:
        return await read_body(response.content, response.headers, max_bytes)
    except ResponseUnreadable:
        response.close()
        if response.status < HTTPStatus.MULTIPLE_CHOICES:
            raise
        return b""
