"""The delivery loop: what is owed is published, and each entry settled by its own outcome."""

import asyncio

import structlog

from forwarder.aws.bus import Bus
from forwarder.clock import Clock
from forwarder.delivery.account import PART, Account
from forwarder.delivery.batch import MOST_ENTRIES, Batch, Packer, Stamp
from forwarder.delivery.gate import Gate, Ticket, Trouble
from forwarder.delivery.publish import Published, publish
from forwarder.delivery.refusals import Refusals
from forwarder.delivery.retry import decide
from forwarder.delivery.settle import Settler
from forwarder.delivery.sight import Sight
from forwarder.errors import (
    BusMissing,
    DestinationError,
    DestinationPaused,
    DestinationUnavailable,
    EventsRefused,
    LedgerError,
)
from forwarder.health import Health
from forwarder.ledger import UNDECODABLE, Dead, Ledger, Settlement
from forwarder.metrics import Metrics
from forwarder.model import Accepted, Outcome, Owed, Rejected, Retry, State, Unknown
from forwarder.settings import Settings

log = structlog.get_logger("delivery")

LOOK_EVERY = 1.0
"""Seconds between two looks for what another process made owed."""

NOT_FROM_THE_BUS = ("unreachable", "not-aws", "internal")
"""Codes of ours for outages of which the bus itself said nothing."""

AHEAD = 8
"""Requests taken from the ledger for each one that may be in flight: taking waits for its commits, and reads past all
that is in flight."""


class Delivery:
    """Publishes for one set of settings. `wake` tells it that something new is owed."""

    def __init__(
        self,
        bus: Bus,
        ledger: Ledger,
        settler: Settler,
        settings: Settings,
        clock: Clock,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._bus = bus
        self._ledger = ledger
        self._settler = settler
        self._clock = clock
        self._health = health
        self._metrics = metrics
        self._packer = Packer(Stamp.of(settings), settings.destination.max_request_bytes)
        self._gate = Gate(settings.destination.concurrency, clock)
        self._ahead = AHEAD * MOST_ENTRIES * settings.destination.concurrency
        self._requests: set[asyncio.Task[None]] = set()
        self._owed = asyncio.Event()
        self._sight = Sight(bus, settler, clock)
        self._account = Account(clock, metrics)
        self._refusals = Refusals()
        self._taking_back = False
        self.trouble: DestinationError | None = None
        """What stands between the entries and the bus, until the next answer that is understood."""

    def wake(self) -> None:
        self._owed.set()

    async def run(self, *, until_empty: bool = False) -> None:
        """Until cancelled, or until nothing is owed or the bus refuses us; requests in flight go on, see `drain`."""
        await self._look()
        try:
            while await self._fill(until_empty=until_empty):
                ticket = await self._leave_to_send()
                self._start(ticket, self._packer.next(1 if self._gate.uncertain else MOST_ENTRIES))
        finally:
            self._ledger.release([owed.token for owed in self._packer.empty()])

    async def _look(self) -> None:
        """Whether the bus is there, before anything is owed to it."""
        try:
            await self._bus.look()
        except DestinationError as error:
            self.trouble = error
            self._health.report(PART, State.FAILED, error.message, error.hint)
        else:
            self.trouble = None
            self._health.healthy(PART)
            await self._sight.note()

    async def drain(self) -> None:
        """Let requests in flight end, be settled, and be the bus's for certain.

        Cancelled, it gives them up: they are owed, and sent again.
        """
        try:
            while self._requests:
                await asyncio.wait(self._requests)
        except asyncio.CancelledError:
            late = list(self._requests)
            for request in late:
                request.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            log.warning("requests given up", requests=len(late))
            raise
        self._account.tell()
        await self._look_back()

    async def _fill(self, *, until_empty: bool) -> bool:
        """Wait until there is something to send; False where nothing more is to be waited for."""
        while not (until_empty and self._gives_up):
            self._owed.clear()
            if not self._packer and (unfit := self._packer.add(await self._take())):
                await self._bury(unfit)
            if self._packer:
                return True
            if self._sight.is_due:
                await self._look_back()
            if until_empty and not self._requests and await self._ledger.next_due() is None:
                return False
            self._account.tell()
            await self._clock.wait(self._owed, await self._until_due())
        return False

    @property
    def _gives_up(self) -> bool:
        """Return whether a pass that has to end need not wait. A single entry that is refused is no refusal of all."""
        if isinstance(self.trouble, EventsRefused):
            return self._refusals.are_many
        return isinstance(self.trouble, DestinationPaused)

    async def _bury(self, unfit: list[Owed]) -> None:
        """Dead letters at once: they must not stand before the others."""
        dead = [Dead(owed.token, UNDECODABLE, "no event can be made of its detail") for owed in unfit]
        await self._settler.settle(dead, self._bus.name)
        self._account.buried(unfit, dead)

    async def _leave_to_send(self) -> Ticket:
        while True:
            await self._settler.clear()
            ticket = await self._gate.enter()
            if self._settler.is_clear:
                return ticket
            self._gate.leave()

    def _start(self, ticket: Ticket, batch: Batch) -> None:
        request = asyncio.create_task(self._send(ticket, batch))
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)
        request.add_done_callback(lambda _: self.wake())

    async def _send(self, ticket: Ticket, batch: Batch) -> None:
        """One batch, from the bus's answer to the commit. What was not answered is owed as before."""
        left = {owed.token for owed in batch.owed}
        try:
            async for published in publish(self._bus, batch, self._refusals):
                settlements = self._heed(ticket, published)
                await self._sight.note()
                left -= {owed.token for owed in published.batch.owed}  # from here on they are the settler's
                await self._settler.settle(settlements, self._bus.name)
                self._account.booked(published, settlements, self._clock.now())
        except DestinationError as error:
            self._metrics.retried(error.code, len(left))
            self._hold(ticket, error)
            if isinstance(error, BusMissing):
                await self._take_back()
        except Exception as error:
            # A fault of ours in one request must not end the stream: the entries are owed, and tried again.
            log.exception("request failed", kind=type(error).__name__)
            self._hold(ticket, DestinationUnavailable("a request failed inside the forwarder", code="internal"))
        finally:
            self._ledger.release(left)
            self._gate.leave()

    def _heed(self, ticket: Ticket, published: Published) -> list[Settlement]:
        """What an answer means for the requests to come, and for each entry."""
        now = self._clock.now()
        outcomes = published.answer.outcomes
        settlements = [decide(owed, outcome, now) for owed, outcome in zip(published.batch.owed, outcomes, strict=True)]
        # The gate closes before the books are written: meanwhile another request could go out.
        if unknown := next((outcome for outcome in outcomes if isinstance(outcome, Unknown)), None):
            self._gate.trouble(ticket, Trouble.UNKNOWN)
            self.trouble = DestinationUnavailable(
                f"what became of a request is unknown: {unknown.reason}", code="unknown"
            )
            self._health.report(PART, State.DEGRADED, self.trouble.message, "it is sent again; a duplicate is possible")
            self._metrics.became_unknown(len(outcomes))
            log.warning("possible duplicate", entries=len(outcomes), why=unknown.reason)
        elif published.answer.stop:
            self._refusals.count(outcomes)
            self._hold(ticket, published.answer.stop)
        else:
            self._gate.understood(ticket)
            self.trouble = None
            self._report_answer(outcomes)
        self._sight.answered()
        return settlements

    def _report_answer(self, outcomes: list[Outcome]) -> None:
        """Report the bus as HEALTHY, or DEGRADED while it refuses every entry with codes that end as dead letters."""
        refused = [each for each in outcomes if isinstance(each, Rejected) or (isinstance(each, Retry) and each.strike)]
        accepted = [each for each in outcomes if isinstance(each, Accepted)]
        self._refusals.count(accepted or refused)
        if refused and self._refusals.are_many:
            reason = f"it refuses every event: {refused[0].code}: {refused[0].reason}"
            self._health.report(PART, State.DEGRADED, reason, "see `forwarder dead`, and correct [event] and event_bus")
        elif accepted or not self._refusals.are_many:
            self._health.healthy(PART)

    async def _look_back(self) -> None:
        if missing := await self._sight.look_back():
            self.trouble = missing
            self._health.report(PART, State.FAILED, missing.message, missing.hint)
            await self._take_back()

    async def _take_back(self) -> None:
        """A bus that does not exist answers as if it did: what it accepted since it was last seen is owed again."""
        if self._taking_back:
            return
        self._taking_back = True
        try:
            # What the others are told by it is to be taken back as well, unless nothing was sent since we look for it.
            others = self._requests - {asyncio.current_task()}
            if others and self._bus.seen is not None:
                await asyncio.wait(others)
            await self._sight.note()
            await self._sight.owe_again(self._bus.name)
        finally:
            self._taking_back = False

    def _hold(self, ticket: Ticket, error: DestinationError) -> None:
        self.trouble = error
        if isinstance(error, DestinationPaused):
            wait = self._gate.trouble(ticket, Trouble.REFUSAL)
            self._health.report(PART, State.FAILED, error.message, error.hint)
        else:
            answered = error.code not in NOT_FROM_THE_BUS
            wait = self._gate.trouble(ticket, Trouble.OUTAGE if answered else Trouble.SILENCE)
            self._health.report(PART, State.DEGRADED if answered else State.FAILED, error.message, error.hint)
        if wait is not None:
            log.warning("delivery waits", code=error.code, why=error.message, again_in=round(wait, 1))

    async def _take(self) -> list[Owed]:
        try:
            return await self._ledger.take(self._ahead, now=self._clock.now())
        except LedgerError as error:
            self._health.report("ledger", State.FAILED, error.message, error.hint)
            await self._clock.sleep(LOOK_EVERY)
            return []

    async def _until_due(self) -> float:
        """Seconds; also the interval in which other processes are noticed."""
        due = await self._ledger.next_due()
        if due is None:
            return LOOK_EVERY
        return min(LOOK_EVERY, max(0.0, (due - self._clock.now()).total_seconds()))
