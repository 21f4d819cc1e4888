"""A table on dynalite, and the processes that share it. Each process has a proxy of its own."""

import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from forwarder.ledger import Counters, Dead, Postponed, Sent
from forwarder.ledger.dynamodb import DynamoLedger
from forwarder.ledger.dynamodb.executions import DEAD_STATE, PENDING_STATE, PURGED_STATE, SENT_STATE, Retention
from forwarder.ledger.dynamodb.member import Member
from forwarder.ledger.dynamodb.member_list import MISSED_HEARTBEATS
from forwarder.ledger.dynamodb.schema import table_definition
from forwarder.ledger.dynamodb.table import Key
from forwarder.ledger.dynamodb.values import Item
from forwarder.ledger.traffic import TrafficCounts
from forwarder.model import Checkpoint, ClaimedEntry, Feed, Token
from forwarder.settings.validators.ledger_url import TableLocation
from tests.factories import FEED, entry
from tests.harness.dynalite import KEYS, new_table_name, running_dynalite
from tests.harness.dynamodb_faults import LOSE_REQUEST, always
from tests.harness.dynamodb_proxy import DynamoProxy
from tests.virtual_clock import NOON

TIMEOUT_SECONDS = 5.0

BUS = "eu-west-1/failures"

_STATE_LETTERS = {PENDING_STATE: "rtpq", SENT_STATE: "s", DEAD_STATE: "d", PURGED_STATE: "g"}

_LIFE = re.compile("r(s[pq]|dt)*(s|d|dg)?")
"""The possible transitions of an execution, without adoptions: it is settled once each time it is pending."""

_session = get_session()


def client(endpoint_url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> Any:
    """Return a context manager of an SDK client that makes no retries, as the forwarder's own."""
    config = AioConfig(retries={"total_max_attempts": 1}, read_timeout=timeout_seconds, max_pool_connections=64)
    return _session.create_client("dynamodb", region_name="eu-west-1", endpoint_url=endpoint_url, config=config, **KEYS)


class ObservedLedger(DynamoLedger):
    """A ledger whose membership a test observes and directs.

    By default, each heartbeat observes the others, however soon it follows the one before, and however long their
    intervals are.
    """

    observes_each_heartbeat = True

    @property
    def _observation_seconds(self) -> float:
        return 0.0 if self.observes_each_heartbeat else super()._observation_seconds

    def _max_missed(self, item: dict[str, Any]) -> float:
        return MISSED_HEARTBEATS if self.observes_each_heartbeat else super()._max_missed(item)

    @property
    def membership(self) -> Member:
        assert self._member is not None
        return self._member

    @property
    def is_mark_at_end(self) -> bool:
        """Return whether nothing in the journal is open."""
        return self.membership.window.mark == self.membership.window.next_number

    def set_now(self, now: datetime) -> None:
        self._now = lambda: now

    def set_heartbeat_seconds(self, seconds: float) -> None:
        """Set the time between two heartbeats. A heartbeat waits half of it for the take-overs that it begins."""
        self._heartbeat_seconds = seconds

    def forget_read_payloads(self) -> None:
        self._journals._cached.clear()  # noqa: SLF001  # it has no operation for this

    def become_copy_of(self, other: "ObservedLedger") -> None:
        """Continue from the state of another process, which does not know."""
        theirs = other.membership
        mine = Member(self._table, self._journals, theirs.id, deepcopy(theirs.window), theirs.beats, theirs.sent_at)
        mine.journal._number = theirs.journal._number  # noqa: SLF001  # only a copy of the memory has it
        self._member = mine

    def forget_membership(self) -> None:
        self._member = None

    def add_traffic(self, counts: TrafficCounts) -> None:
        """Count what was recorded and sent."""
        self._traffic.add(counts)

    async def member_item(self, name: str) -> dict[str, Any]:
        await self._load_members(consistent=True)
        return self._members[name]

    async def take_over(self, name: str) -> None:
        """Take over a member at once, as if its heartbeat had stood still."""
        await self._take_over(self.membership, await self.member_item(name))

    async def count_ended_members(self, number: int) -> None:
        """Count members that ended in the ledger's item, as the chosen member does."""
        await self._load_members(consistent=True)
        await self._count_ended(self._deletable()[:number])

    async def delete_ended_members(self) -> None:
        """Delete the items of ended members that are counted, as the chosen member does."""
        await self._delete_ended(self._ended)

    async def delete_item(self, key: Key) -> None:
        await self._table.delete(key)

    async def put_item(self, key: Key, item: Item) -> None:
        await self._table.put(key, item)

    async def all_items(self) -> dict[Key, dict[str, Any]]:
        return {key: item async for key, item in self._table.scan()}


@dataclass
class Process:
    """A process on the table, with its own ledger, and the proxy between them."""

    ledger: ObservedLedger
    proxy: DynamoProxy

    @property
    def member_id(self) -> str:
        return self.ledger.membership.id

    async def beat(self, times: int = 1) -> None:
        for _ in range(times):
            await self.ledger.beat()

    async def take_over_dead(self) -> None:
        """Beat until each other member whose heartbeat stands still is dead and taken over."""
        await self.beat(MISSED_HEARTBEATS + 1)

    async def record(self, *ids: str, feed: Feed = FEED) -> int:
        await self.ledger.add_feeds({feed: Checkpoint()})
        return await self.ledger.record(feed, [entry(each, feed=feed) for each in ids], now=NOON)

    async def read_feed(self, feed: Feed = FEED) -> None:
        """Keep the checkpoint of a first scan, which is written with the next heartbeat."""
        await self.ledger.record(feed, [], now=NOON, checkpoint=Checkpoint(watermark=NOON))

    async def claim(self, limit: int = 1000, *, after: timedelta = timedelta()) -> dict[str, ClaimedEntry]:
        """Claim entries, and return them by id."""
        return {each.entry.execution_id: each for each in await self.ledger.claim(limit, now=NOON + after)}

    async def tokens(self, *, after: timedelta = timedelta()) -> dict[str, Token]:
        """Claim entries, and return their tokens by id."""
        return {execution_id: claimed.token for execution_id, claimed in (await self.claim(after=after)).items()}

    async def send(self, token: Token, bus: str = BUS) -> None:
        await self.ledger.settle([Sent(token, "event")], now=NOON, bus=bus)

    async def die(self, token: Token) -> None:
        await self.ledger.settle([Dead(token, "MalformedDetail", "why")], now=NOON, bus=BUS)

    async def postpone(self, token: Token, due_at: datetime) -> None:
        await self.ledger.settle([Postponed(token, "X", due_at, unclassified_attempt=True)], now=NOON)

    async def leave(self) -> None:
        """End as after SIGTERM."""
        await self.ledger.__aexit__(None, None, None)

    async def kill(self) -> None:
        """End as after SIGKILL: nothing is sent any more."""
        self.proxy.plan = always(LOSE_REQUEST)
        self.ledger.forget_membership()
        await self.ledger.__aexit__(None, None, None)


@dataclass
class SharedTable:
    """A table and the processes of a test. All processes are killed at the end."""

    name: str
    port: int
    stack: AsyncExitStack
    processes: list[Process] = field(default_factory=list)

    async def start(self, *, prefix: str = "", retention: timedelta = timedelta(days=1)) -> Process:
        """Start a process, which is no member yet."""
        proxy = await self.stack.enter_async_context(DynamoProxy(self.port))
        ledger = ObservedLedger(
            TableLocation(self.name, "eu-west-1", prefix=prefix),
            lambda: client(proxy.endpoint_url),
            Retention(timedelta(days=90), retention),
            heartbeat_seconds=60.0,
            host="test",
            now=lambda: NOON,
        )
        process = Process(await ledger.__aenter__(), proxy)
        self.stack.push_async_callback(process.kill)
        return process

    async def another(self) -> "SharedTable":
        """Return another new table. Its processes end with those of this one."""
        return await self.stack.enter_async_context(shared_table())

    async def member(self, *, prefix: str = "") -> Process:
        """Start a process, which joins."""
        process = await self.start(prefix=prefix)
        await process.beat()
        return process

    async def verify(self, *, prefix: str = "") -> Counters:
        """Return the counters. Assert that they equal the items, and that nothing was settled twice or has no owner."""
        observer = await self.start(prefix=prefix)
        counters = await observer.ledger.audit()
        items = [item for key, item in (await observer.ledger.all_items()).items() if key.p.startswith("x#")]
        states = Counter(item["st"] for item in items)
        assert (counters.recorded, counters.sent, counters.purged) == (
            len(items),
            states[SENT_STATE],
            states[PURGED_STATE],
        )
        for item in items:
            letters = "".join(each[-1] for each in item["lg"]).replace("a", "")
            assert _LIFE.fullmatch(letters), item
            assert letters[-1] in _STATE_LETTERS[item["st"]], item
        return counters


@asynccontextmanager
async def shared_table() -> AsyncIterator[SharedTable]:
    """Yield a new table."""
    emulator, name = running_dynalite(), new_table_name()
    async with client(emulator.endpoint_url) as sdk:
        await sdk.create_table(**table_definition(name))
    async with AsyncExitStack() as stack:
        yield SharedTable(name, emulator.port, stack)
