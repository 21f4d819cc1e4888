"""The problems of connections and requests: each is counted, and logged at a bounded rate.

A log line names the kind, the listener and the caller. It holds no byte of the request: request lines carry webhook
tokens, headers carry session cookies, and exception messages quote both.
"""

import traceback
from enum import StrEnum
from pathlib import PurePath
from typing import Any

import structlog
from aiohttp import web

from forwarder.clock import Clock
from forwarder.metrics import Metrics

log = structlog.get_logger("web")

LOG_INTERVAL_SECONDS = 60.0
"""The least time between two lines of the same kind. A line has the number of problems since the line before it."""

MAX_FRAMES = 8


class Problem(StrEnum):
    """A kind of problem. Its value is the label of the metric, and `kind` in the log."""

    MALFORMED_REQUEST = "malformed_request"
    MALFORMED_BODY = "malformed_body"
    HEADER_TIMEOUT = "header_timeout"
    BODY_TIMEOUT = "body_timeout"
    WRITE_TIMEOUT = "write_timeout"
    TLS_HANDSHAKE = "tls_handshake"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    TOO_MANY_STREAMS = "too_many_streams"
    NO_DESCRIPTORS = "no_descriptors"
    FILE_RELOAD = "file_reload"
    INTERNAL = "internal"


_HINTS = {
    Problem.TOO_MANY_CONNECTIONS: "find out who opens them; the limit follows from the limit of open files (ulimit -n)",
    Problem.NO_DESCRIPTORS: "raise the limit of open files (ulimit -n, or LimitNOFILE in the systemd unit)",
    Problem.TLS_HANDSHAKE: "the client does not speak TLS, or does not trust the certificate in web.tls_cert",
}

_OPERATOR_PROBLEMS = frozenset({Problem.TOO_MANY_CONNECTIONS, Problem.NO_DESCRIPTORS})
"""Kinds that a person has to act on. The others are faults of a client."""


class RequestProblems:
    """The problems of one listener."""

    def __init__(self, listener: str, clock: Clock, metrics: Metrics) -> None:
        self._listener = listener
        self._clock = clock
        self._metrics = metrics
        self._logged_at: dict[str, float] = {}
        self._unlogged: dict[str, int] = {}

    def report(self, problem: Problem, caller: str = "", **details: Any) -> None:
        """Count a problem, and log it unless one of its kind was logged within `LOG_INTERVAL_SECONDS`.

        `details` are names and numbers of ours, never parts of the request. Faults of this program that differ in route
        or exception are different kinds.
        """
        kind = problem.value
        if problem is Problem.INTERNAL:
            kind += f" {details.get('route')} {details.get('exception')}"
        self._metrics.count_web_request_error(problem)
        now = self._clock.monotonic()
        count = self._unlogged[kind] = self._unlogged.get(kind, 0) + 1
        logged_at = self._logged_at.get(kind)
        if logged_at is not None and now - logged_at < LOG_INTERVAL_SECONDS:
            return
        self._logged_at[kind] = now
        self._unlogged[kind] = 0
        fields = {"kind": problem.value, "listener": self._listener, "caller": caller, "count": count} | details
        if hint := _HINTS.get(problem):
            fields["hint"] = hint
        if problem is Problem.INTERNAL:
            log.error("request failed", **fields)
        elif problem in _OPERATOR_PROBLEMS:
            log.warning("connection rejected", **fields)
        else:
            log.info("request rejected", **fields)

    def report_internal_error(self, error: BaseException, caller: str = "", **details: Any) -> None:
        """Report a fault of this program, with the type of the exception and the innermost lines of its traceback."""
        self.report(Problem.INTERNAL, caller, exception=type(error).__name__, frames=frames(error), **details)


PROBLEMS = web.AppKey("problems", RequestProblems)


def frames(error: BaseException) -> list[str]:
    """Return the innermost MAX_FRAMES lines of an exception's traceback, without its message.

    The message may quote a request.
    """
    return [
        f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
    ]
