"""The reruns that are requested on the page. A form that is sent twice runs an execution once."""

import asyncio
import re
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from forwarder.diagnostics.results import to_forwarder_error
from forwarder.errors import ForwarderError, SourceUnavailable

MAX_RERUN_SECONDS: Final = 60.0
"""The longest wait for the response of the logs API. It is shorter than the wait of a browser."""

MAX_RESULTS: Final = 100
"""The number of latest results that are kept, in memory only."""

_KEY: Final = re.compile(r"[\w-]{16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RerunResult:
    """The result of a request for another run: the `response` of the logs API, or an `error`."""

    execution_id: str
    response: str = ""
    error: ForwarderError | None = None


class Reruns:
    """The latest reruns, by the key of the form that requested each."""

    def __init__(self) -> None:
        self._tasks: OrderedDict[str, asyncio.Task[RerunResult]] = OrderedDict()

    @staticmethod
    def new_key() -> str:
        return secrets.token_urlsafe(12)

    async def request(self, key: str, execution_id: str, call: Callable[[], Awaitable[str]]) -> RerunResult:
        """Request another run, or return the result of the request with the same key.

        Raise HTTPBadRequest if the key has another form than those of `new_key`.
        """
        if not _KEY.fullmatch(key):
            raise web.HTTPBadRequest(reason="the form is incomplete: load the page of the event again")
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(_rerun(execution_id, call))
            while len(self._tasks) > MAX_RESULTS:
                self._tasks.popitem(last=False)
        return await asyncio.shield(self._tasks[key])

    def result(self, key: str, execution_id: str) -> RerunResult | None:
        """Return the result of a rerun of this execution, or None if it is not known or not complete."""
        task = self._tasks.get(key)
        if task is None or not task.done() or task.cancelled():
            return None
        return task.result() if task.result().execution_id == execution_id else None


RERUNS = web.AppKey("reruns", Reruns)


async def _rerun(execution_id: str, call: Callable[[], Awaitable[str]]) -> RerunResult:
    try:
        async with asyncio.timeout(MAX_RERUN_SECONDS):
            return RerunResult(execution_id, await call())
    except TimeoutError:
        message = f"the logs API did not respond within {MAX_RERUN_SECONDS:.0f} s"
        error = SourceUnavailable(message, hint="check in Alloy whether the execution runs again, then try again")
        return RerunResult(execution_id, error=error)
    except Exception as error:  # noqa: BLE001  # the page shows any problem in place of the result
        return RerunResult(execution_id, error=to_forwarder_error(error))
