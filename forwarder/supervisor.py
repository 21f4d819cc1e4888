"""The supervisor of the loops: it restarts a loop that fails or stalls."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.errors import ForwarderError, LedgerError
from forwarder.health import Health
from forwarder.heartbeat import Heartbeats, task_location
from forwarder.machine_errors import machine_error
from forwarder.model import State
from forwarder.watchdog import exit_process

log = structlog.get_logger("app")

LEDGER = "ledger"
"""The component that is at fault if a loop ends with LedgerError."""

HEALTHY_RUN_SECONDS = 300.0
"""A loop that ran for this long was healthy: the backoff starts from the beginning at its next failure."""

CHECK_INTERVAL_SECONDS = 5.0
"""Time between two checks for a stalled loop."""

MAX_STALLS, STALL_WINDOW_SECONDS = 3, 3600.0
"""The process exits after this number of consecutive stalls. A run of STALL_WINDOW_SECONDS resets the count."""

MAX_CANCEL_SECONDS = 30.0
"""The time that a cancelled loop has to end. If it has not ended by then, the process exits."""


class LoopStalled(Exception):
    """A loop sent no heartbeat in time, and was cancelled."""


async def keep_running(
    name: str, loop: Callable[[], Awaitable[None]], clock: Clock, health: Health, heartbeats: Heartbeats
) -> None:
    """Run a loop until it returns. Report it if it fails or stalls, and restart it with increasing delays.

    Exit the process after MAX_STALLS stalls, or if the loop cannot be cancelled.
    """
    backoff = Backoff(base=1.0, cap=60.0, floor=0.5)
    stalls = 0
    while True:
        started_at = clock.monotonic()
        component, hint = name, "it is restarted automatically"
        try:
            await _run_watched(name, loop, heartbeats)
        except Exception as error:
            if isinstance(error, LoopStalled):
                log.critical("loop stalled", loop=name, location=str(error))
                stalls = stalls + 1 if clock.monotonic() - started_at < STALL_WINDOW_SECONDS else 1
                if stalls == MAX_STALLS:
                    exit_process(f"the loop {name} stalls repeatedly")
                reason = "its loop stalled"
            elif explained := error if isinstance(error, ForwarderError) else machine_error(error):
                component = LEDGER if isinstance(error, LedgerError) else name  # the loop is not at fault
                log.error("loop failed", loop=name, reason=explained.message, hint=explained.hint)  # noqa: TRY400  # it is no bug
                reason, hint = explained.message, explained.hint
            else:
                log.exception("loop failed", loop=name)
                reason = f"its loop failed: {type(error).__name__}"
            health.report(component, State.FAILED, reason, hint)
        else:
            return
        if clock.monotonic() - started_at > HEALTHY_RUN_SECONDS:
            backoff.reset()
        await clock.sleep(backoff.next())
        if component == name:
            health.report(name, State.STARTING)


async def _run_watched(name: str, loop: Callable[[], Awaitable[None]], heartbeats: Heartbeats) -> None:
    """Run a loop until it ends. Raise LoopStalled if it stalls, or the error that the loop raises.

    Exit the process if the loop cannot be cancelled.
    """
    task = heartbeats.start(name, loop)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=CHECK_INTERVAL_SECONDS)
            if stalled := heartbeats.stalled().get(name):
                locations = ", ".join(task_location(each) for each in stalled)
                for each in stalled:  # also of tasks that an earlier run left behind: the next run would wait for them
                    each.cancel()
                raise LoopStalled(locations)
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=MAX_CANCEL_SECONDS)
        heartbeats.stop_tracking(name)
        if not task.done():
            exit_process(f"the loop {name} cannot be cancelled")
    if task.cancelled():
        raise RuntimeError("the loop cancelled its own task")
    task.result()
