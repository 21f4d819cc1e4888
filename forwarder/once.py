"""The single pass of `forwarder once`: it polls every feed, and delivers all pending entries.

It uses the components of the daemon. On a shared ledger it also polls the feeds of other processes, because they may
have been killed, which only later heartbeats show. A failure that two processes read is recorded once. The ledger drops
the checkpoints of these polls: a living owner has newer ones, and a pass after the take-over of a dead one reads the
same executions again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from forwarder.app import App, Loops
from forwarder.clock import Clock
from forwarder.errors import INTERRUPTED_EXIT_CODE, DestinationUnavailable, ForwarderError, LedgerUnavailable
from forwarder.fleet_watch import FleetWatch
from forwarder.ledger import Counters, Fleet
from forwarder.maintenance import Maintenance
from forwarder.retention_watch import RetentionWatch
from forwarder.runtime import background_tasks, handle_signals
from forwarder.settings import ConfigSource
from forwarder.startup import open_app


@dataclass(frozen=True, slots=True)
class OnceResult:
    """The result of one pass. `errors` are the reasons for which the pass is not complete.

    `counters` are those of the ledger. `recorded`, `sent` and `dead_lettered` count the entries of this pass.
    """

    counters: Counters
    errors: list[ForwarderError] = field(default_factory=list)
    switched_off: bool = False
    interrupted: bool = False
    recorded: int = 0
    sent: int = 0
    dead_lettered: int = 0

    @property
    def exit_code(self) -> int:
        """Return the exit code of the pass: 130 if it was interrupted, else the highest one of the errors.

        An error is a refusal (77), a process that was not taken over (75) or an outage (69). Without an error, the exit
        code is 1 after a dead letter, else 0. Errors that `once` raises have their own: settings or vault (78), or a
        ledger that cannot be used now (75).
        """
        if self.interrupted:
            return INTERRUPTED_EXIT_CODE
        return max((error.exit_code for error in self.errors), default=1 if self.dead_lettered else 0)


async def once(config_source: ConfigSource, clock: Clock, timeout: timedelta) -> OnceResult:  # noqa: ASYNC109  # how long to go on delivering
    """Poll every feed once, and then deliver pending entries for at most `timeout`.

    Poll and deliver nothing if forwarding is disabled. SIGTERM and SIGINT stop the pass. Raise SettingsError,
    VaultError or LedgerError; other errors are in the result.
    """
    async with open_app(config_source, clock) as app:
        await app.save_switch()
        if not app.config.settings.enabled or await app.ledger.saved_switch() is False:
            return OnceResult(await app.ledger.counters(), switched_off=True)
        retention_watch = RetentionWatch(
            app.ledger, lambda: app.config.settings, app.polls, clock, app.health, app.metrics
        )
        await retention_watch.check()  # before a poll replaces the last reads
        dead_before = (await app.ledger.counters()).dead
        async with app.open_loops() as loops, _membership(app, loops.poller.share_limit) as fleet_watch:
            errors: list[ForwarderError] = []
            work = asyncio.create_task(_poll_and_deliver(app, loops, fleet_watch, timeout, errors))
            with handle_signals(stop=work.cancel):
                await asyncio.wait([work])
            await _drain(app, loops)
            if work.cancelled():
                return _result(app, await app.ledger.counters(), errors=errors, interrupted=True)
            is_complete = work.result()
            await retention_watch.check()
            await Maintenance(
                app.ledger, lambda: app.config.settings, app.polls, clock, app.health, app.metrics
            ).finish()
            counters = await app.ledger.counters()
            # The bus is checked even if nothing is pending: a first test must find a wrong one.
            if error := loops.delivery.current_error:
                errors.append(error)
            elif counters.pending or not (is_complete or fleet_watch.silent):
                errors.append(DestinationUnavailable("the time was up", code="timeout"))
            if silent := [each.name for each in fleet_watch.silent if not each.is_running(clock.now())]:
                errors.append(_unknown_processes(silent))
            return _result(app, counters, errors=errors, dead_lettered=max(0, counters.dead - dead_before))


def _unknown_processes(names: Sequence[str]) -> LedgerUnavailable:
    """Return the error of a pass that was too short to take over processes that have probably been killed.

    The pass after a kill is no error: the last heartbeat is recent, so the process may be alive.
    """
    return LedgerUnavailable(
        f"the time was up before the events of silent processes could be taken over: {', '.join(names)}",
        hint="use a longer --timeout: a process is taken over after five heartbeats (ledger.heartbeat_interval)",
    )


def _result(app: App, counters: Counters, **fields: Any) -> OnceResult:
    return OnceResult(counters, recorded=app.metrics.recorded, sent=app.metrics.sent, **fields)


async def deliver_pending(config_source: ConfigSource, clock: Clock, timeout: timedelta) -> None:  # noqa: ASYNC109  # as above
    """Deliver pending entries for at most `timeout`. Raise the error that prevents it.

    If cancelled, wait for requests in flight, at most for `run.shutdown_grace`.
    """
    async with open_app(config_source, clock) as app, app.open_loops() as loops:
        app.ledger.give_up_feeds()  # it polls none, and daemons must not wait for the end of the delivery
        async with _membership(app) as fleet_watch:
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout.total_seconds()):
                        await _deliver(loops, fleet_watch)
            finally:
                await _drain(app, loops)
            if loops.delivery.current_error is not None:
                raise loops.delivery.current_error


@contextlib.asynccontextmanager
async def _membership(app: App, *on_change: Callable[[Fleet], None]) -> AsyncIterator[FleetWatch]:
    """Write heartbeats during a block, if other processes share the ledger. Raise LedgerError if that is impossible."""
    fleet_watch = app.fleet_watch(*on_change)
    await fleet_watch.beat()
    async with background_tasks(fleet_watch.run()):
        yield fleet_watch


async def _drain(app: App, loops: Loops) -> None:
    grace = app.config.settings.run.shutdown_grace.total_seconds()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(grace):
            await loops.delivery.drain()
    await app.settlement_writer.close(grace)


async def _poll_and_deliver(
    app: App,
    loops: Loops,
    fleet_watch: FleetWatch,
    timeout: timedelta,  # noqa: ASYNC109  # as above
    errors: list[ForwarderError],
) -> bool:
    """Add the errors of the polls to `errors`. Return whether the delivery ended before `timeout`."""
    async with background_tasks(loops.delivery.run()):
        errors += await loops.poller.run_once()
    app.ledger.give_up_feeds()  # daemons must not wait for the end of the pass
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            await _deliver(loops, fleet_watch)
    except TimeoutError:
        return False
    return True


async def _deliver(loops: Loops, fleet_watch: FleetWatch) -> None:
    """Deliver pending entries, and those of processes that were killed.

    Each silent process is either alive, which its next heartbeat shows, or is taken over after a few heartbeats. A pass
    that ended earlier would leave its entries pending for as long as only passes run.
    """
    await loops.delivery.run(until_empty=True)
    if fleet_watch.silent:
        async with background_tasks(loops.delivery.run()):
            await fleet_watch.wait_until_nobody_is_silent()
        await loops.delivery.run(until_empty=True)
        await fleet_watch.beat()  # the counters of others are those of the last heartbeat
