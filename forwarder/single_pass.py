"""One complete pass, by the parts of the daemon: read every feed, deliver what is owed, and say how it went."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import timedelta

from forwarder.app import App, Loops, opened
from forwarder.clock import Clock
from forwarder.errors import DestinationUnavailable, ForwarderError
from forwarder.ledger import Books
from forwarder.settings import Place
from forwarder.supervise import beside, on_signals
from forwarder.upkeep import Upkeep


@dataclass(frozen=True, slots=True)
class PassDone:
    """What one complete pass came to. `errors` are what kept it from being complete."""

    books: Books
    errors: list[ForwarderError] = field(default_factory=list)
    switched_off: bool = False
    stopped: bool = False

    @property
    def exit_code(self) -> int:
        """The worst of them: a refusal (77) over an outage (69)."""
        return max((error.exit_code for error in self.errors), default=0)


async def once(place: Place, clock: Clock, timeout: timedelta) -> PassDone:  # noqa: ASYNC109  # how long to go on delivering
    """One complete pass, by the same parts: read every feed, deliver what is owed until the time is up."""
    async with opened(place, clock) as app:
        await app.remember_switch()
        if not app.plan.settings.enabled:
            return PassDone(await app.ledger.books(), switched_off=True)
        async with app.forwarding() as loops:
            errors: list[ForwarderError] = []
            work = asyncio.create_task(_read_and_deliver(loops, timeout, errors))
            with on_signals(stop=work.cancel):
                await asyncio.wait([work])
            await _drain(app, loops)
            if work.cancelled():
                return PassDone(await app.ledger.books(), stopped=True)
            work.result()
            await Upkeep(app.ledger, lambda: app.plan.settings, app.readings, clock, app.health, app.metrics).finish()
            books = await app.ledger.books()
            if books.owed:
                errors.append(loops.delivery.trouble or DestinationUnavailable("the time was up", code="timeout"))
            return PassDone(books, errors)


async def deliver(place: Place, clock: Clock, timeout: timedelta) -> None:  # noqa: ASYNC109  # as above
    """Only deliver what is owed, until the time is up. Raises what stands in the way. Cancelled, it drains first."""
    async with opened(place, clock) as app, app.forwarding() as loops:
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout.total_seconds()):
                    await loops.delivery.run(until_empty=True)
        finally:
            await _drain(app, loops)
        if loops.delivery.trouble is not None:
            raise loops.delivery.trouble


async def _drain(app: App, loops: Loops) -> None:
    grace = app.plan.settings.run.shutdown_grace.total_seconds()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(grace):
            await loops.delivery.drain()
    await app.settler.close(grace)


async def _read_and_deliver(loops: Loops, timeout: timedelta, errors: list[ForwarderError]) -> None:  # noqa: ASYNC109
    async with beside(loops.delivery.run()):
        errors += await loops.intake.run_once()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout.total_seconds()):
            await loops.delivery.run(until_empty=True)
