"""The server of the fake logs API: aiohttp on loopback, in a thread with its own event loop."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

from forwarder.demo.fake_alloy import FakeAlloyApi

_MAX_CLOSE_SECONDS = 1.0


@dataclass(slots=True)
class FakeAlloyServer:
    """A server of `api` at `base_url`. It runs while the context is entered.

    `before_response(path, query)` is called in the server's thread before each response. It may change the API, so
    that pages shift while they are read. `fail(query)` returns the response to `POST /demo/fail`. If it raises
    ValueError, the response is a 400. Port 0 selects a free port.
    """

    api: FakeAlloyApi
    before_response: Callable[[str, Mapping[str, str]], None] | None = None
    fail: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None
    port: int = 0
    base_url: str = field(default="", init=False)
    requests: int = field(default=0, init=False)
    last_request: float = field(default=0.0, init=False)
    _ready: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _thread: threading.Thread | None = field(default=None, init=False, repr=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False, repr=False)
    _stop: asyncio.Event = field(default_factory=asyncio.Event, init=False, repr=False)
    _error: BaseException | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="logs-api", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    @property
    def idle_seconds(self) -> float:
        """Return the seconds since the last request."""
        return time.monotonic() - self.last_request

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - `__enter__` raises it again
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_post("/demo/fail", self._respond_to_fail)
        app.router.add_route("*", "/{path:.*}", self._respond)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_MAX_CLOSE_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
            host, port = runner.addresses[0][:2]
            self.base_url = f"http://{host}:{port}"
            self._loop = asyncio.get_running_loop()
            self._ready.set()
            await self._stop.wait()
        finally:
            await runner.cleanup()

    async def _respond(self, request: web.Request) -> web.Response:
        path = request.rel_url.raw_path
        self.requests += 1
        self.last_request = time.monotonic()
        if self.before_response is not None:
            self.before_response(path, request.query)
        response = self.api.respond(request.method, path, request.query, request.headers)
        return web.Response(status=response.status, body=response.body, headers=response.headers)

    async def _respond_to_fail(self, request: web.Request) -> web.Response:
        if self.fail is None:
            raise web.HTTPNotFound
        try:
            return web.json_response(dict(self.fail(request.query)), status=201)
        except ValueError as error:
            return web.json_response({"message": str(error)}, status=400)
