"""The parts of aiohttp that its documentation does not cover: one request and its response on a pooled connection.

aiohttp's public session is not used for PutEvents, because it fails tests of tests/aws/test_put_events_framing.py:
- It returns an unexpected response on an idle connection as the response to the next request.
  `test_unsolicited_response_is_ignored` requires that `acquire` closes such a connection.
- It does not return a refusal before the whole body is sent, and a slow upload counts as a missing response.
  `test_early_refusal_is_returned_before_body_is_sent` and `test_slow_upload_has_no_read_timeout` require the order of
  `write_body` and `read_response`.

Publishing events of 1 KB through the session also takes 1.5 times the CPU time. Each minor release of aiohttp has to
pass these tests before pyproject.toml admits it.
"""

import asyncio
from collections.abc import Mapping
from typing import cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage, StreamWriter
from multidict import CIMultiDict
from yarl import URL


def connection_request(
    url: URL, headers: Mapping[str, str], proxy: URL | None, proxy_headers: Mapping[str, str]
) -> aiohttp.ClientRequest:
    """Return the request that names the server and the proxy to connect to."""
    loop = asyncio.get_running_loop()
    return aiohttp.ClientRequest("POST", url, headers=headers, proxy=proxy, proxy_headers=proxy_headers, loop=loop)


async def acquire(connector: aiohttp.BaseConnector, request: aiohttp.ClientRequest, seconds: float) -> Connection:
    """Return a connection that received nothing after its last response. Close other idle connections."""
    timeout = aiohttp.ClientTimeout(connect=seconds)
    while True:
        connection = await connector.connect(request, traces=[], timeout=timeout)
        if not _protocol(connection).should_close:
            return connection
        connection.close()


async def write_head(
    connection: Connection, request_line: str, headers: CIMultiDict[str], seconds: float
) -> StreamWriter:
    """Write the head, and return the writer of the body. Raise ValueError for a header that cannot be written."""
    protocol = _protocol(connection)
    protocol.set_response_params(read_until_eof=True, read_timeout=seconds, auto_decompress=False)
    writer = StreamWriter(protocol, asyncio.get_running_loop())
    await writer.write_headers(request_line, headers)
    return writer


async def write_body(connection: Connection, writer: StreamWriter, body: bytes) -> None:
    """Start to send the body. The read timeout starts when the operating system has the whole body."""
    # drain=False: a server that refuses a body by its length sends a response, and never reads the body.
    await writer.write(body, drain=False)
    if not is_sending(connection):
        _protocol(connection).start_timeout()


async def read_response(connection: Connection) -> tuple[RawResponseMessage, aiohttp.StreamReader]:
    return await _protocol(connection).read()


def is_sending(connection: Connection) -> bool:
    return _protocol(connection).writing_paused


def close_at_release(connection: Connection) -> None:
    _protocol(connection).force_close()


def _protocol(connection: Connection) -> ResponseHandler:
    return cast("ResponseHandler", connection.protocol)  # it is None only after the release
