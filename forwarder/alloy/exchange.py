"""The trace of one request and its response: when it may be cancelled, and whether the response belongs to the request.

httpx calls `Exchange.trace` at each step that its connection pool makes.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

MIN_READ_ITERATIONS = 2
"""The iterations of the event loop that a read takes: one to be notified of bytes, another to resume the reader."""

CONNECT_STEPS = ("connect_tcp", "start_tls")

INTERRUPTIBLE_STEPS = (*CONNECT_STEPS, "send_request_headers")
"""Steps of httpx at whose start an exchange can be cancelled. After the last one, it can be cancelled at any time until
the response is closed."""


class Exchange:
    """A request and its response, traced to detect a response that the request did not cause.

    httpx may find such a response, or a part of one, in its buffers after the previous response. A complete one is
    read in fewer iterations of the event loop than a read from the network takes. A part makes the response to the
    request invalid HTTP.
    """

    def __init__(self) -> None:
        self._counting: asyncio.Handle | None = None
        self._is_cancelled = False
        self.begin()

    def begin(self) -> None:
        self._is_new = False
        self._iterations = 0
        self.is_stale = False
        self.is_interruptible = False

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel the exchange now, or as soon as it waits for the network.

        httpx's pool counts a connection as used forever if a cancellation comes while it is assigned or closed.
        """
        self._is_cancelled = True
        if self.is_interruptible:
            task.cancel()

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Follow a step of the connection pool. Raise CancelledError if the exchange was cancelled before it."""
        _, step, stage = event.rsplit(".", 2)
        if step in INTERRUPTIBLE_STEPS and stage == "started":
            if self._is_cancelled:
                raise asyncio.CancelledError
            self.is_interruptible = True
        elif step in CONNECT_STEPS or step == "response_closed":
            self.is_interruptible = False
        match event:
            case "connection.connect_tcp.started":
                self._is_new = True
            case "http11.receive_response_headers.started":
                self._schedule_count()
            case "http11.receive_response_headers.complete":
                self._stop_counting()
                self.is_stale = not self._is_new and self._iterations < MIN_READ_ITERATIONS
            case "http11.receive_response_headers.failed":
                self._stop_counting()
                error = info["exception"]
                is_malformed = type(error).__name__ == "RemoteProtocolError" and "disconnected" not in str(error)
                self.is_stale = not self._is_new and is_malformed

    def _schedule_count(self) -> None:
        self._counting = asyncio.get_running_loop().call_soon(self._count_iteration)

    def _count_iteration(self) -> None:
        self._iterations += 1
        if self._iterations < MIN_READ_ITERATIONS:
            self._schedule_count()

    def _stop_counting(self) -> None:
        if self._counting is not None:
            self._counting.cancel()


async def wait_despite_cancellation(task: asyncio.Task[Any]) -> None:
    """Wait for the end of a task, however often the wait is cancelled."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # asyncio logs an exception that is not retrieved
