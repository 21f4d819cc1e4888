"""The tasks that run beside the heartbeats, so that a slow or throttled table does not delay them.

After a few heartbeats that come too late, others take this process over.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from forwarder.ledger.dynamodb.store import DynamoStore, boot_seconds

log = structlog.get_logger("fleet")


class BackgroundStore(DynamoStore):
    """The base class that runs tasks beside the heartbeats."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._background: dict[str, asyncio.Task[None]] = {}
        """The tasks by name."""
        self._heartbeat_due_at = 0.0
        """The time at which the next heartbeat no longer waits for any task, in seconds since the machine started."""

    def _begin_heartbeat(self) -> None:
        """Let the tasks before this heartbeat take half a period together."""
        self._heartbeat_due_at = boot_seconds() + self._heartbeat_seconds / 2

    async def _do_beside_heartbeats(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do work, and wait for its end, but not longer than the heartbeat may wait. Then it goes on in the background.

        If earlier work of this name still runs, no other is started. Raise LedgerError if the work fails in this time.
        """
        task = self._background.get(name)
        if task is None:
            task = self._background[name] = asyncio.create_task(work(), name=name)
            task.add_done_callback(lambda _: self._background.pop(name, None))
        try:
            await asyncio.wait([task], timeout=max(0.0, self._heartbeat_due_at - boot_seconds()))
        finally:  # also if the heartbeat is cancelled: the work goes on
            if not task.done():
                task.add_done_callback(_log_failure)
        if task.done():
            await task

    async def _cancel_background(self) -> None:
        """Cancel all tasks, and wait for their end. An heir completes the rest from the journal."""
        if background := list(self._background.values()):
            for each in background:
                each.cancel()
            await asyncio.wait(background)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("task beside the heartbeat failed", task=task.get_name(), reason=str(error))
