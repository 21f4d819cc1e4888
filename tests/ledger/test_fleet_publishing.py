"""Publishing: an entry is claimed once, and not after another process may have taken it over."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import pytest

from forwarder.aws.eventbridge import Event, NotOwned, PublishResult
from forwarder.aws.responses import RequestRefusal
from forwarder.clock import SystemClock
from forwarder.delivery.bus_check import BusCheck, VerifiedBus
from forwarder.delivery.dispatcher import Dispatcher
from forwarder.delivery.settlement import SettlementWriter
from forwarder.errors import BusMissing, DestinationUnavailable, LedgerUnavailable
from forwarder.health import Health
from forwarder.ledger.dynamodb.schema import Place, digest, execution_key, journal, number_text
from forwarder.ledger.dynamodb.table import Key
from forwarder.metrics import Metrics
from forwarder.model import Accepted
from tests.factories import some_settings
from tests.harness.dynamodb_faults import FAILED, PASS, THROTTLED, Fault, Hold, Plan, always, execute
from tests.ledger.fleet_table import BUS, Process, SharedTable
from tests.virtual_clock import NOON
from tests.waiting import until

pytestmark = pytest.mark.dynamodb

OUTAGE_SECONDS = 4.0

LATER = timedelta(days=20)
"""The time after which the payloads of pending entries are stored again."""


def executions(fault: Fault) -> Plan:
    return lambda request: fault if request.writes("x#") else PASS


class ThrottledBus:
    """A bus that refuses every request until it is released."""

    name = BUS

    def __init__(self) -> None:
        self.is_released = False
        self.refused = 0
        self.published = 0

    async def describe(self, name: str) -> None:
        """Find the bus."""

    async def publish(
        self, events: Sequence[Event], *, is_owned: Callable[[], bool] = lambda: True
    ) -> PublishResult | RequestRefusal:
        if not is_owned():
            raise NotOwned
        if not self.is_released:
            self.refused += 1
            raise DestinationUnavailable("throttled", code="ThrottlingException")
        self.published += len(events)
        return PublishResult([Accepted("id")] * len(events))


class SlowCheckBus(ThrottledBus):
    """A bus whose check takes long after a refused request."""

    def __init__(self) -> None:
        super().__init__()
        self.is_checking = False
        self.check_ends = asyncio.Event()

    async def describe(self, name: str) -> None:
        await super().describe(name)
        if self.refused:
            self.is_checking = True
            await self.check_ends.wait()


class SplittingBus(ThrottledBus):
    """A bus that refuses each request with more than one entry, and calls a function after the first entry."""

    def __init__(self, after_first: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._after_first = after_first

    async def publish(
        self, events: Sequence[Event], *, is_owned: Callable[[], bool] = lambda: True
    ) -> PublishResult | RequestRefusal:
        if not is_owned():
            raise NotOwned
        if len(events) > 1:
            return RequestRefusal("413", "too large", is_entry_specific=True)
        self.published += 1
        await self._after_first()
        return PublishResult([Accepted("id")])


class MissingBus(ThrottledBus):
    """A bus that was deleted."""

    async def describe(self, name: str) -> None:
        raise BusMissing(f"the bus {name} does not exist", code="ResourceNotFoundException")


def dispatcher_of(process: Process, bus: ThrottledBus) -> Dispatcher:
    clock = SystemClock()
    health = Health(clock.now)
    writer = SettlementWriter(process.ledger, clock, health)
    return Dispatcher(bus, process.ledger, writer, some_settings(), clock, health, Metrics())


async def test_idle_heir_checks_the_bus_of_inherited_events(table: SharedTable) -> None:
    """The bus was deleted before they were sent. The heir has settled nothing, and its own check is over."""
    member, heir = await table.member(), await table.member()
    await member.ledger.save_bus_verified(BUS, 0)
    await member.record("a")
    await member.send((await member.tokens())["a"])
    clock = SystemClock()
    health = Health(clock.now)
    writer = SettlementWriter(heir.ledger, clock, health)
    verified_bus = VerifiedBus(MissingBus(), clock, verify=True)
    check = BusCheck(verified_bus, writer, clock)
    assert await check.verify() is None
    is_due = [check.is_due]
    await heir.beat()
    await member.kill()
    await heir.take_over_dead()
    is_due.append(check.is_due)
    assert isinstance(await check.verify(), BusMissing)
    await check.requeue([])
    assert set(await heir.claim()) == {"a"}
    assert [*is_due, check.is_due] == [False, True, False]


async def test_check_of_an_idle_heir_closes_inherited_events(table: SharedTable) -> None:
    """Otherwise each later heir would doubt them again, and send them twice after the bus was deleted on purpose."""
    member, heir = await table.member(), await table.member()
    await member.ledger.save_bus_verified(BUS, 0)
    await member.record("a")
    await member.send((await member.tokens())["a"])
    await heir.beat()
    await member.kill()
    await heir.take_over_dead()
    clock = SystemClock()
    writer = SettlementWriter(heir.ledger, clock, Health(clock.now))
    check = BusCheck(VerifiedBus(ThrottledBus(), clock, verify=True), writer, clock)
    assert await check.verify() is None
    assert await heir.ledger.unverified_buses() == []


async def test_taken_over_process_publishes_nothing_that_waited(table: SharedTable) -> None:
    """Claimed entries wait behind an outage of the bus, while another process takes them over."""
    member, heir = await table.member(), await table.member()
    await heir.beat()
    ids = [f"e-{number}" for number in range(40)]
    await member.record(*ids)
    bus = ThrottledBus()
    dispatcher = dispatcher_of(member, bus)
    running = asyncio.create_task(dispatcher.run())
    await until(lambda: bus.refused > 0)
    await heir.take_over_dead()
    member.ledger.set_heartbeat_seconds(0)  # its last heartbeat is too old
    bus.is_released = True
    dispatcher.retry_now()
    await until(lambda: not member.ledger.membership.claimed)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert bus.published == 0
    assert set(await heir.claim()) == set(ids)


async def test_taken_over_process_publishes_nothing_after_a_slow_check(table: SharedTable) -> None:
    """The request waits for the check of the bus, while another process takes its entries over."""
    member, heir = await table.member(), await table.member()
    await heir.beat()
    await member.record("a", "b")
    bus = SlowCheckBus()
    dispatcher = dispatcher_of(member, bus)
    running = asyncio.create_task(dispatcher.run())
    await until(lambda: bus.refused > 0)
    bus.is_released = True
    dispatcher.retry_now()
    await until(lambda: bus.is_checking)
    await heir.take_over_dead()
    member.ledger.set_heartbeat_seconds(0)  # its last heartbeat is too old
    bus.check_ends.set()
    await until(lambda: not member.ledger.membership.claimed)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert bus.published == 0
    assert set(await heir.claim()) == {"a", "b"}


async def test_taken_over_process_does_not_send_the_rest_of_a_request(table: SharedTable) -> None:
    """The bus refuses large requests, so that one batch becomes several requests."""
    member, heir = await table.member(), await table.member()
    await heir.beat()
    await member.record("a", "b", "c", "d")

    async def take_over() -> None:
        await heir.take_over_dead()
        member.ledger.set_heartbeat_seconds(0)

    bus = SplittingBus(take_over)
    running = asyncio.create_task(dispatcher_of(member, bus).run())
    await until(lambda: bus.published > 0 and not member.ledger.membership.claimed)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert bus.published == 1


async def test_outage_after_a_take_over_does_not_end_delivery(table: SharedTable) -> None:
    """The process is no member any more, and cannot join again for now. A restarted loop would wait for a minute."""
    member = await table.member()
    bus, clock = ThrottledBus(), SystemClock()
    bus.is_released = True
    health = Health(clock.now)
    writer = SettlementWriter(member.ledger, clock, health)
    dispatcher = Dispatcher(bus, member.ledger, writer, some_settings(), clock, health, Metrics())
    running = asyncio.create_task(dispatcher.run())
    await member.record("a")
    dispatcher.wake()
    await until(lambda: bus.published == 1)
    member.proxy.plan = always(FAILED)
    member.ledger.forget_membership()
    await until(lambda: running.done() or "ledger" in health.components)
    done, _ = await asyncio.wait([running], timeout=OUTAGE_SECONDS)
    assert not done
    member.proxy.plan = execute
    await member.record("b")
    await until(lambda: bus.published == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_entry_is_not_claimed_while_it_is_replaced(table: SharedTable) -> None:
    """Its payload is stored again at a heartbeat, after an attempt that a throttled table refused."""
    member = await table.member()
    await member.record("a")
    member.proxy.plan = executions(THROTTLED)
    with pytest.raises(LedgerUnavailable):
        await member.ledger.apply_retention(
            now=NOON + LATER, id_retention=timedelta(days=90), payload_retention=timedelta(days=1)
        )
    member.proxy.plan = hold = Hold(lambda request: request.writes("x#"))
    beat = asyncio.create_task(member.beat())
    await hold.reached.wait()
    first = await member.tokens(after=LATER)
    hold.release()
    await beat
    second = await member.tokens(after=LATER)
    assert (first, list(second)) == ({}, ["a"])


async def test_claim_that_fails_releases_all_of_its_entries(table: SharedTable) -> None:
    """The payload of one is missing, and the table refuses to settle it."""
    member = await table.member()
    await member.record("bad")
    await member.record("good")
    place = Place.of((await member.ledger.all_items())[execution_key(digest("bad"))]["o"])
    await member.ledger.delete_item(Key(journal(member.member_id), number_text(place.number)))
    member.ledger.forget_read_payloads()
    member.proxy.plan = executions(THROTTLED)
    with pytest.raises(LedgerUnavailable):
        await member.claim()
    member.proxy.plan = execute
    assert "good" in await member.claim()
