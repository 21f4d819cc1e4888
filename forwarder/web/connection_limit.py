"""The accepting of connections, limited so that enough open files remain for forwarding.

asyncio's own server accepts until descriptors run out, and then repeats and logs the failure without a pause that
counts. This loop closes the connection that has been waiting for its client longest instead.
"""

import asyncio
import resource
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from forwarder.web.connection import Connection, Timeouts
from forwarder.web.request_errors import Problem, RequestProblems

VANISHED_MILLISECONDS = 60_000
"""The time after which the kernel closes a connection whose client acknowledges nothing.

It is longer than `Timeouts.write`, which reports a client that does not read. A page opens a silent stream again every
10 seconds, and a session may have 8 streams.
"""

MAX_CONNECTIONS = 512
MIN_CONNECTIONS = 8
"""The bounds of the limit of connections to all listeners together."""

RESERVED_DESCRIPTORS = 128
"""Descriptors kept for the logs API, the bus, the ledger and files."""

WEB_UI_SHARE, HEALTH_SHARE = 0.75, 0.25
"""Shares of the limit, so that the health endpoints stay reachable if the web UI has no connection left."""

ACCEPT_RETRY_SECONDS = 0.25

ROOM_SECONDS, ROOM_RETRY_SECONDS = 2.0, 0.02
"""The longest wait of a new connection while requests on all others are handled, and the time between two attempts."""


def max_connections() -> int:
    """Return the limit of connections to all listeners together, from the current limit of open files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return connections_within(soft)


def connections_within(descriptors: int) -> int:
    """Return how many connections a limit of open files allows."""
    if descriptors == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(MIN_CONNECTIONS, min(MAX_CONNECTIONS, descriptors - RESERVED_DESCRIPTORS))


@dataclass(slots=True, eq=False)
class _Slot:
    """An accepted connection. `connection` is None during the TLS handshake.

    `since` is the start of the handshake, in seconds of the event loop's clock. `opening` is the task of the handshake.
    """

    since: float
    connection: Connection | None = None
    opening: asyncio.Task[None] | None = None

    @property
    def waiting_since(self) -> float:
        return self.since if self.connection is None else self.connection.since

    @property
    def is_evictable(self) -> bool:
        return self.connection is None or self.connection.is_evictable

    def close(self) -> None:
        if self.connection is not None:
            self.connection.abort()
        elif self.opening is not None:
            self.opening.cancel()


@dataclass(slots=True)
class Listener:
    """A listener of one address, with its connections.

    `tls` returns the context for a new connection, or None without TLS. `share` is this listener's part of
    `max_connections`.
    """

    listener_socket: socket.socket
    server: web.Server
    tls: Callable[[], ssl.SSLContext | None]
    share: float
    timeouts: Timeouts
    problems: RequestProblems
    _slots: set[_Slot] = field(default_factory=set)

    async def run(self) -> None:
        """Accept connections until cancelled. `server` closes those that are open at the end."""
        loop = asyncio.get_running_loop()
        self.listener_socket.setblocking(False)
        try:
            while True:
                try:
                    accepted, address = await loop.sock_accept(self.listener_socket)
                except ConnectionError:  # the client has gone before it was accepted
                    continue
                except OSError as error:
                    self.problems.report(Problem.NO_DESCRIPTORS, error=error.strerror)
                    self._evict()
                    await asyncio.sleep(ACCEPT_RETRY_SECONDS)
                    continue
                await self._admit(accepted, str(address[0]))
                await asyncio.sleep(0)  # a queue of connections keeps `sock_accept` from giving way to other tasks
        finally:
            opening = [slot.opening for slot in self._slots if slot.opening is not None]
            for task in opening:
                task.cancel()
            await asyncio.gather(*opening, return_exceptions=True)

    async def _admit(self, accepted: socket.socket, caller: str) -> None:
        try:
            has_room = await self._has_room(caller)
        except asyncio.CancelledError:
            accepted.close()
            raise
        if not has_room:
            accepted.close()
            return
        slot = _Slot(asyncio.get_running_loop().time())
        self._slots.add(slot)
        slot.opening = asyncio.create_task(self._open(slot, accepted, caller))

    async def _has_room(self, caller: str) -> bool:
        """Return whether there is space for a connection. If not, close one that waits for its client.

        If none waits, because all requests are being handled, wait at most ROOM_SECONDS for one to end.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ROOM_SECONDS
        if not self._is_full():
            return True
        self.problems.report(Problem.TOO_MANY_CONNECTIONS, caller, open=len(self._slots))
        while self._is_full() and not self._evict():
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(ROOM_RETRY_SECONDS)
        return True

    def _is_full(self) -> bool:
        return len(self._slots) >= max(1, int(self.share * max_connections()))

    async def _open(self, slot: _Slot, accepted: socket.socket, caller: str) -> None:
        tls, timeouts = self.tls(), self.timeouts
        if sys.platform == "linux":
            # A client that vanished, behind a NAT or asleep, would keep its stream for a quarter of an hour.
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, VANISHED_MILLISECONDS)
        connection = Connection(self.server, timeouts, self.problems, lambda: self._slots.discard(slot))
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=tls,
                ssl_handshake_timeout=timeouts.handshake if tls else None,
                ssl_shutdown_timeout=timeouts.shutdown if tls else None,
            )
            slot.connection = connection
        except OSError as error:  # which ssl.SSLError and TimeoutError are, too
            self.problems.report(Problem.TLS_HANDSHAKE, caller, exception=type(error).__name__)
        finally:
            slot.opening = None
            if slot.connection is None:
                self._slots.discard(slot)

    def _evict(self) -> bool:
        """Close the connection that has been waiting for its client longest. Return False if none is waiting."""
        waiting = [slot for slot in self._slots if slot.is_evictable]
        if not waiting:
            return False
        longest = min(waiting, key=lambda slot: slot.waiting_since)
        self._slots.discard(longest)
        longest.close()
        return True
