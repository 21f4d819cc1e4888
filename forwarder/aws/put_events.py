"""PutEvents without the SDK's layers between: the one call that a storm of failures is made of.

It sends what the SDK would send, signed alike, over the HTTP client that the SDK uses too, and fails with the SDK's own
errors, so that one table (`responses.py`) classifies both. All other calls, the keys, the address and the proxy
are the SDK's.

Of aiohttp it takes connections, their pool and the parser, but not the session, which is a third of what sending takes.
Not all of that is documented: each minor release of aiohttp has to pass this module's tests before it is admitted.
"""

import asyncio
import hmac
import os
import ssl
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from types import TracebackType
from typing import Any, Protocol, Self, cast
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage, StreamWriter
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.parsers import create_parser
from botocore.utils import get_environ_proxies
from multidict import CIMultiDict
from pydantic_core import to_json
from yarl import URL

from forwarder import __version__
from forwarder.aws.http_session import CONNECT_ERRORS, NeverSent, ResponseUnreadable, read_body
from forwarder.errors import DestinationRefused

OPERATION = "PutEvents"
SERVICE = "events"
ALGORITHM = "AWS4-HMAC-SHA256"
CONTENT_TYPE = "application/x-amz-json-1.1"
TARGET = f"AWSEvents.{OPERATION}"
UNSIGNED_HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"forwarder/{__version__}"}
"""Not signed: what stands between may change them."""

KEEP_ALIVE_SECONDS = 12.0
"""Seconds for which an idle connection is kept. AWS closes one after 20, and what became of a request that crosses the
close on its way nobody could say."""

INTERIM_STATUSES = (HTTPStatus.CONTINUE, HTTPStatus.PROCESSING, HTTPStatus.EARLY_HINTS)
"""Statuses that announce an answer, and are none."""

MAX_INTERIM_RESPONSES = 10

_response_decoder = msgspec.json.Decoder(dict[str, Any])
_error_parser = create_parser("json")


class FrozenKeys(Protocol):
    """What the SDK gives of its credentials: three that belong together."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


@dataclass(frozen=True, slots=True, repr=False)  # for it holds keys
class _SigningContext:
    """What all requests of one second and of one pair of keys have in common."""

    at: int
    keys: FrozenKeys
    headers: Mapping[str, str]
    canonical: str
    to_sign: str
    authorization: str
    signing_key: bytes


class Signer:
    """AWS Signature Version 4 for one address. Source: "Create a signed AWS API request" (AWS IAM).

    What stays the same from request to request is worked out once, and what is about the address by the SDK's signer.
    """

    def __init__(self, url: str, region: str) -> None:
        request, sdk = AWSRequest("POST", url), SigV4Auth(None, SERVICE, region)
        method, path, query, *_ = sdk.canonical_request(request).split("\n")
        self._start = f"{method}\n{path}\n{query}\n"
        self._host = str(sdk.headers_to_sign(request)["host"])
        self._region = region
        self._context: _SigningContext | None = None

    def headers(self, keys: FrozenKeys, body: bytes, at: int) -> dict[str, str]:
        """Those that have to go with the body, the signature among them. `at` is in seconds since 1970."""
        context = self._context
        if context is None or context.at != at or context.keys != keys:
            context = self._context = self._signing_context(keys, at)
        canonical = f"{context.canonical}{sha256(body).hexdigest()}"
        to_sign = f"{context.to_sign}{sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(context.signing_key, to_sign.encode(), "sha256").hex()
        return {**context.headers, "authorization": f"{context.authorization}{signature}"}

    def _signing_context(self, keys: FrozenKeys, at: int) -> _SigningContext:
        timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        scope = f"{timestamp[:8]}/{self._region}/{SERVICE}/aws4_request"
        headers = {"content-type": CONTENT_TYPE, "host": self._host, "x-amz-date": timestamp}
        if keys.token:
            headers["x-amz-security-token"] = keys.token
        headers["x-amz-target"] = TARGET
        names = ";".join(headers)
        lines = "".join(f"{name}:{' '.join(value.split())}\n" for name, value in headers.items())
        return _SigningContext(
            at=at,
            keys=keys,
            headers=headers,
            canonical=f"{self._start}{lines}\n{names}\n",
            to_sign=f"{ALGORITHM}\n{timestamp}\n{scope}\n",
            authorization=f"{ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature=",
            signing_key=self._signing_key(keys.secret_key, timestamp[:8]),
        )

    def _signing_key(self, secret: str, day: str) -> bytes:
        key = f"AWS4{secret}".encode()
        for scope_part in (day, self._region, SERVICE, "aws4_request"):
            key = hmac.digest(key, scope_part.encode(), "sha256")
        return key


class PutEventsClient:
    """Entered with `async with`, which reads the certificates to trust.

    `url` is the SDK's endpoint, `seconds` the longest wait to be connected and then between two bytes of an answer, and
    `bundle` a file of certificates, or empty for what the SDK trusts. Proxies are those of the environment. How long a
    server may take over a body that is too large to be sent at once is limited by the caller.
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
        # It says where to connect, and which headers all have in common.
        self._template_request = aiohttp.ClientRequest(
            "POST",
            self._url,
            headers=UNSIGNED_HEADERS,
            proxy=self._proxy,
            proxy_headers=UNSIGNED_HEADERS | {"Host": self._url.host_port_subcomponent or ""},
            loop=asyncio.get_running_loop(),
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit_stack.aclose()

    def put_events(self, keys: FrozenKeys, entries: Sequence[Mapping[str, Any]]) -> Awaitable[dict[str, Any]]:
        """Return the response as the SDK does: one that cannot be parsed has no entries. Bytes in `entries` are text.

        Raise ValueError at once for bytes that are no text. Then raise DestinationRefused or NeverSent if nothing was
        sent, the SDK's ClientError if the response is a refusal, and aiohttp's errors if there is no response.
        """
        body = to_json({"Entries": entries})  # the quickest of those at hand to make a JSON string of bytes
        return self._send_signed(keys, body)

    async def _send_signed(self, keys: FrozenKeys, body: bytes) -> dict[str, Any]:
        try:
            headers = self._signer.headers(keys, body, int(time.time()))
        except Exception as error:  # noqa: BLE001  # keys come from many sources, and may be anything
            raise DestinationRefused(
                f"the AWS keys cannot sign a request: {type(error).__name__}",
                code="credentials",
                hint="check the AWS keys: `forwarder check`",
            ) from None
        return await self.send(body, headers)

    async def send(self, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """Send once. No redirect is followed: a server that answers with one may have taken the events."""
        connection = await self._acquire_connection()
        try:
            response, body_bytes = await self._exchange(connection, body, headers)
        except BaseException:
            connection.close()  # what still comes on it must not be taken for the answer to another request
            raise
        connection.release()
        if response.code >= HTTPStatus.MULTIPLE_CHOICES:
            details = {"status_code": response.code, "headers": response.headers, "body": body_bytes}
            raise ClientError(_error_parser.parse(details, None), OPERATION)
        try:
            return _response_decoder.decode(body_bytes)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return {}

    async def _acquire_connection(self) -> Connection:
        """Return a connection. Every error here is one of a request that was never sent."""
        timeout = aiohttp.ClientTimeout(connect=self._timeout_seconds)
        try:
            while True:
                connection = await self._connector.connect(self._template_request, traces=[], timeout=timeout)
                if not _protocol(connection).should_close:
                    return connection
                connection.close()  # it received unsolicited bytes, which are no response to this request
        except CONNECT_ERRORS:
            raise
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error
        except Exception as error:
            raise NeverSent(type(error).__name__) from error

    async def _exchange(
        self, connection: Connection, body: bytes, headers: Mapping[str, str]
    ) -> tuple[RawResponseMessage, bytes]:
        protocol = _protocol(connection)
        protocol.set_response_params(read_until_eof=True, read_timeout=self._timeout_seconds, auto_decompress=False)
        all_headers = CIMultiDict(self._template_request.headers)
        all_headers.update(headers, **{"content-length": str(len(body))})
        writer = StreamWriter(protocol, asyncio.get_running_loop())
        try:
            await writer.write_headers(self._request_line, all_headers)
        except ValueError as error:  # a header that cannot be written, such as a token with a line break
            raise NeverSent(type(error).__name__) from error
        # Until it is taken is not waited: a server that refuses a body by its length answers, and never takes it.
        await writer.write(body, drain=False)
        if not protocol.writing_paused:  # else it is still on its way, and nobody is late
            protocol.start_timeout()
        response, content = await protocol.read()
        for _ in range(MAX_INTERIM_RESPONSES):
            if response.code not in INTERIM_STATUSES:
                break
            response, content = await protocol.read()
        body_bytes = await self._body(protocol, response, content)
        if protocol.writing_paused or response.code in INTERIM_STATUSES:
            protocol.force_close()  # the rest of this body, or the awaited response, would meet the next request
        return response, body_bytes

    async def _body(
        self, protocol: ResponseHandler, response: RawResponseMessage, content: aiohttp.StreamReader
    ) -> bytes:
        """Return the body. A refusal without a readable body is still a refusal: its status is enough."""
        try:
            return await read_body(content, response.headers)
        except ResponseUnreadable:
            protocol.force_close()
            if response.code < HTTPStatus.MULTIPLE_CHOICES:
                raise
            return b""


def _protocol(connection: Connection) -> ResponseHandler:
    return cast("ResponseHandler", connection.protocol)  # which it has until it is released


def _ssl_context(bundle: str) -> ssl.SSLContext:
    file = get_cert_path(bundle or os.environ.get("REQUESTS_CA_BUNDLE") or True)
    try:
        return ssl.create_default_context(cafile=file)
    except OSError:
        raise DestinationRefused(
            f"the certificates to trust cannot be read: {file}",
            code="certificates",
            hint="correct AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE or the ca_bundle of your AWS profile",
        ) from None
