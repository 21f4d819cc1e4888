"""The stubs for the loops of the daemon in virtual time, whose operations take no time, fail, or never return."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

import httpx
import msgspec

from forwarder.alloy.responses import ApiResponse
from forwarder.clock import SystemClock
from forwarder.demo.sample_data import execution
from tests.virtual_clock import NOON

REQUEST_SECONDS = 14.0
"""Two requests without a heartbeat between them stall a loop. Operations of the ledger take no time."""

BUS_REQUESTS = ("describe", "publish")


@dataclass
class Steps:
    """The operations that the loops await, by name. `hang_at` is the one that never returns."""

    hang_at: str = ""
    seen: dict[str, int] = field(default_factory=dict)
    hung_until: float = float("inf")
    """The end of the wait that was announced before the operation that hangs."""

    async def take(self, name: str, wait_seconds: float = 0.0) -> None:
        self.seen[name] = self.seen.get(name, 0) + 1
        if name == self.hang_at:
            if self.seen[name] == 1:
                self.hung_until = asyncio.get_running_loop().time() + wait_seconds
            await asyncio.Event().wait()


class VirtualClock(SystemClock):
    """A clock of the virtual loop. A wait is a step named after the function that waits."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await self._steps.take(sys._getframe(1).f_code.co_qualname, seconds)  # noqa: SLF001  # a documented function
        await super().sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        await self._steps.take(sys._getframe(1).f_code.co_qualname, seconds)  # noqa: SLF001  # as above
        return await super().wait(event, seconds)


class Stub:
    """An object whose operations are steps with these results. A result is a function, which may raise."""

    def __init__(self, steps: Steps, results: Mapping[str, Callable[..., object]], **attributes: object) -> None:
        self._steps = steps
        self._results = results
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        result = self._results[name]

        async def call(*arguments: object, **options: object) -> object:
            await self._steps.take(name)
            if name in BUS_REQUESTS:
                await asyncio.sleep(REQUEST_SECONDS)
            return result(*arguments, **options)

        return call


class StubConnections:
    """A logs API that lists a failed execution in each workflow and two users, or sends `response` to every request."""

    steps = Steps()
    response: ApiResponse | None = None

    def __init__(self, *_: object, **__: object) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def fetch(self, _: str, target: str, __: object) -> ApiResponse:
        path, _, query = target.partition("?")
        kind = path.strip("/").rpartition("/")[2]
        await self.steps.take(kind)
        await asyncio.sleep(REQUEST_SECONDS)
        if self.response:
            return self.response
        failed = execution("failed-status", id=path, started=NOON, stopped=NOON, payload={})
        data: Mapping[str, list[Any]] = {
            "users": [{"userId": "u-1"}, {"userId": "u-2"}],
            "workflows": [{"workflowId": f"w-{query}"}],
            "logs": [failed] if "page=0" in query else [],
        }
        return ApiResponse(200, httpx.Headers(), msgspec.json.encode({"data": data[kind]}))
