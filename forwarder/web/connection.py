"""A connection of a client: its timeouts, and its own error responses in place of those of aiohttp.

aiohttp closes an idle connection, but has no limit for a request head that arrives byte by byte, for a body, or for a
client that does not read. Its own error responses quote the request, name versions and log a traceback.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.typedefs import Handler

from forwarder.web.request_errors import Problem, RequestProblems
from forwarder.web.response_headers import DEFAULT_HEADERS, HEADERS, add_headers, error_response

_silent = logging.getLogger("forwarder.web.aiohttp")
_silent.propagate = False
_silent.setLevel(logging.CRITICAL + 1)
"""The logger passed to aiohttp. It discards all lines, because they quote requests. `Connection` reports problems."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The time in seconds that a client may take.

    `head`: from the start of the connection, or the first byte of a later request, to the end of the request head.
    `body`: for the whole body. `idle`: between two requests; longer than the usual 60 seconds of proxies, which report
    an error when the server closes first. `write`: until a client that has stopped reading reads again.
    """

    handshake: float = 5.0
    head: float = 10.0
    body: float = 20.0
    idle: float = 75.0
    write: float = 20.0
    lingering: float = 2.0
    shutdown: float = 2.0


class Phase(Enum):
    """The event that a connection waits for."""

    HEAD = auto()
    BODY = auto()
    HANDLER = auto()
    NEXT = auto()


class Connection(web.RequestHandler):
    """The protocol of aiohttp with a limit for each phase, and with error responses and log lines of ours.

    `on_lost` is called once, when the connection is gone.
    """

    def __init__(
        self, server: web.Server, timeouts: Timeouts, problems: RequestProblems, on_lost: Callable[[], None]
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=timeouts.idle,
            lingering_time=timeouts.lingering,
            logger=_silent,
            access_log=_silent,
        )
        self.timeouts = timeouts
        self.problems = problems
        self._on_lost = on_lost
        self._stream: asyncio.Transport | None = None
        self._phase = Phase.HEAD
        self._phase_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self.caller = ""
        self.body: StreamReader | None = None
        self.since = 0.0

    @property
    def is_evictable(self) -> bool:
        """Return whether the connection waits for its client. It may then be closed to make space for a new one."""
        return self._phase is not Phase.HANDLER or self._write_timer is not None

    def abort(self) -> None:
        """Close the connection at once. Bytes that are not sent yet are dropped."""
        if self._stream is not None:
            self._stream.abort()

    def enter(self, phase: Phase, body: StreamReader | None = None) -> None:
        """Change the phase, and start its time limit. `body` is the reader of the body in Phase.BODY.

        `read_body` limits the time of a body. A handler has no limit here.
        """
        self._phase = phase
        self.body = body
        self.since = self._loop.time()
        if self._phase_timer is not None:
            self._phase_timer.cancel()
        seconds = {Phase.HEAD: self.timeouts.head, Phase.NEXT: self.timeouts.idle}.get(phase)
        self._phase_timer = None if seconds is None else self._loop.call_later(seconds, self._phase_is_over)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._stream = transport
        self.caller = peer_address(transport)
        self.enter(Phase.HEAD)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        for timer in (self._phase_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._phase_timer = self._write_timer = self._stream = None
        super().connection_lost(exc)
        self._on_lost()

    def data_received(self, data: bytes) -> None:
        if data and self._phase is Phase.NEXT:
            self.enter(Phase.HEAD)
        try:
            super().data_received(data)
        except Exception as error:  # noqa: BLE001  # whatever the parser raises ends this connection, and nothing else
            self.problems.report(Problem.MALFORMED_REQUEST, self.caller, exception=type(error).__name__)
            self._reject_unparsed()
        else:
            self._end_damaged_body()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self._loop.call_later(self.timeouts.write, self._write_is_over)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # aiohttp's text, which quotes the request
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError):  # the client has gone
            raise exc
        if isinstance(exc, HttpProcessingError):
            self.problems.report(Problem.MALFORMED_REQUEST, self.caller, exception=type(exc).__name__)
            if isinstance(exc, LineTooLong):
                status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        elif exc is not None:
            self.problems.report_internal_error(exc, self.caller)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of another response has been sent")
        response = error_response(status)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:  # noqa: ARG002  # aiohttp's text, which quotes the request
        error = kw.get("exc_info")
        if isinstance(error, (web.RequestPayloadError, HttpProcessingError)):
            self.problems.report(Problem.MALFORMED_BODY, self.caller, exception=type(error).__name__)
        elif isinstance(error, BaseException):
            self.problems.report_internal_error(error, self.caller)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response. Replace an error response that aiohttp made before any middleware: it quotes the request."""
        if isinstance(resp, web.HTTPException) and resp.status >= HTTPStatus.BAD_REQUEST:
            resp = error_response(
                resp.status, {name: resp.headers[name] for name in ("Allow",) if name in resp.headers}
            )
        if isinstance(resp, web.StreamResponse) and not resp.prepared:
            add_headers(resp)
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            if self._stream is not None:
                self.enter(Phase.NEXT)

    def _end_damaged_body(self) -> None:
        """Raise RequestPayloadError in the reader of a body if the rest of the body cannot be parsed.

        aiohttp's compiled parser reports that as one more message, an error, and leaves the reader waiting. The queue
        of messages is private: `test_damaged_later_chunk_is_refused_at_once` fails if it changes.
        """
        if self.body is None or self.body.is_eof() or not self._messages:
            return
        if not isinstance(self._messages[-1][0], RawRequestMessage):
            self.body.set_exception(web.RequestPayloadError("the body cannot be parsed"))

    def _phase_is_over(self) -> None:
        if self._phase is Phase.HEAD:
            self.problems.report(Problem.HEADER_TIMEOUT, self.caller)
        self.abort()

    def _write_is_over(self) -> None:
        self.problems.report(Problem.WRITE_TIMEOUT, self.caller)
        self.abort()

    def _reject_unparsed(self) -> None:
        """Close the connection of a request that the parser refused. Send 400 before, unless a response has begun."""
        if self._stream is None or self._stream.is_closing():
            return
        if self._phase is Phase.HEAD:
            head = {**HEADERS, **DEFAULT_HEADERS, "Content-Length": "0", "Connection": "close"}
            lines = ["HTTP/1.1 400 Bad Request", *(f"{name}: {value}" for name, value in head.items())]
            self._stream.write("\r\n".join([*lines, "", ""]).encode())
        self.force_close()


@web.middleware
async def track_connection(request: web.Request, handler: Handler) -> web.StreamResponse:
    """End the time limit of the request head, which is complete. This is the outermost middleware."""
    enter(request, Phase.HANDLER)
    return await handler(request)


def enter(request: web.Request, phase: Phase) -> None:
    if isinstance(request.protocol, Connection):
        request.protocol.enter(phase, request.content if phase is Phase.BODY else None)


def peer_address(transport: asyncio.BaseTransport | None) -> str:
    """Return the IP address at the other end of a connection, or an empty text if the connection has ended."""
    peer = transport.get_extra_info("peername") if transport else None
    return str(peer[0]) if isinstance(peer, tuple) else ""
