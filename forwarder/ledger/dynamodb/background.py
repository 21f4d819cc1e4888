"""The work that goes on beside the heartbeats, so that a slow or throttled table does not delay them.

After a few heartbeats that come too late, others take this process over.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from forwarder.ledger.dynamodb.store import DynamoStore

log = structlog.get_logger("fleet")


class BackgroundStore(DynamoStore):
    """The tasks that were begun before a heartbeat."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._background: dict[str, asyncio.Task[None]] = {}
        """The tasks by name."""

    async def _do_beside_heartbeats(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do work, and wait for its end, at most for half a heartbeat period. Then it goes on in the background.

        If the work of this name that was begun earlier still goes on, no other is begun. Raise LedgerError if the work
        fails in this time.
        """
        task = self._background.get(name)
        if task is None:
            task = self._background[name] = asyncio.create_task(work())
            task.add_done_callback(lambda _: self._background.pop(name, None))
        try:
            await asyncio.wait([task], timeout=self._heartbeat_seconds / 2)
        finally:  # also if the heartbeat is cancelled: the work goes on
            if not task.done():
                task.add_done_callback(_log_failure)
        if task.done():
            await task

    async def _cancel_background(self) -> None:
        """Cancel all tasks, and wait for their end. An heir makes from the journal what is not made."""
        if background := list(self._background.values()):
            for each in background:
                each.cancel()
            await asyncio.wait(background)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("not saved beside the heartbeat", reason=str(error))
