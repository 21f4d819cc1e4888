"""Members take over each other at the same time, with writes in flight: an entry has one owner that delivers it."""

import asyncio
from datetime import timedelta
from itertools import permutations

import pytest
from structlog.testing import capture_logs

from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.ledger import Counters
from tests.harness.dynamodb_faults import PASS, Fault, Hold, Request
from tests.ledger.fleet_table import Process, SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

ORDERS = list(permutations("zmhg"))


def writes_execution(request: Request) -> bool:
    return request.writes("x#")


async def finish(task: "asyncio.Task[int] | asyncio.Task[None]") -> None:
    """Wait for a task that may find out that its member was taken over."""
    await asyncio.wait([task])
    assert task.exception() is None or isinstance(task.exception(), LedgerError)


@pytest.mark.parametrize("is_recorded", [True, False])
@pytest.mark.parametrize(
    "order",
    [pytest.param(each, marks=[] if number % 12 == 5 else pytest.mark.long) for number, each in enumerate(ORDERS)],
    ids="".join,
)
async def test_stalled_writes_in_any_order_leave_one_owner(
    table: SharedTable, order: tuple[str, ...], is_recorded: bool
) -> None:
    """m takes over z, h takes over m, and g takes over z. Each has a write in flight, which arrives in this order."""
    members = {name: await table.member() for name in "zmhg"}
    holds: dict[str, Hold] = {}
    tasks: dict[str, asyncio.Task[int] | asyncio.Task[None]] = {}
    if is_recorded:
        await members["z"].record("a")
    names = {name: member.member_id for name, member in members.items()}
    for name, source in (("z", ""), ("m", "z"), ("h", "m"), ("g", "z")):
        member = members[name]
        member.proxy.plan = holds[name] = Hold(writes_execution)
        if source:
            tasks[name] = asyncio.create_task(member.ledger.take_over(names[source]))
        elif not is_recorded:
            tasks[name] = asyncio.create_task(member.record("a"))
        if name in tasks:
            await holds[name].reached.wait()
    for name in order:
        holds[name].release()
        if name in tasks:
            await finish(tasks[name])
    for member in members.values():
        await member.beat()
    claims = [await member.claim() for member in members.values()]
    assert [set(each) for each in claims if each] == [{"a"}]
    assert await table.verify() == Counters(recorded=1, pending=1)


async def test_two_heirs_at_the_same_time_share_the_entries(table: SharedTable) -> None:
    dying, first, second = [await table.member() for _ in range(3)]
    ids = [f"e-{number}" for number in range(20)]
    await dying.record(*ids)
    dying_id = dying.member_id
    await dying.kill()
    await asyncio.gather(first.ledger.take_over(dying_id), second.ledger.take_over(dying_id))
    for each in (first, second):
        if "gone" not in await each.ledger.member_item(dying_id):
            await each.ledger.take_over(dying_id)
    claims = [set(await each.claim()) for each in (first, second)]
    assert sum(map(len, claims)) == 20
    assert claims[0] | claims[1] == set(ids)
    assert await table.verify() == Counters(recorded=20, pending=20)


async def test_leaving_heir_leaves_its_take_over_to_another(table: SharedTable) -> None:
    """A process has seconds to end after SIGTERM, and the take-over of many entries lasts longer."""
    dying, leaving = await table.member(), await table.member()
    await dying.record("a", "b")
    await dying.leave()
    reached, released = asyncio.Event(), asyncio.Event()

    def hold_adoptions(request: Request) -> Fault:
        if not writes_execution(request):
            return PASS
        reached.set()
        return Fault(waits_for=released)

    leaving.proxy.plan = hold_adoptions
    heartbeat = asyncio.create_task(leaving.beat())
    await reached.wait()
    async with asyncio.timeout(10):
        await leaving.leave()
    heir = await table.member()
    await heir.beat()
    released.set()
    await finish(heartbeat)
    assert set(await heir.claim()) == {"a", "b"}
    assert await table.verify() == Counters(recorded=2, pending=2)


async def owners_of(process: Process) -> list[int]:
    return [len(each.journaled.owners) for each in process.ledger.membership.pending.values()]


async def test_chain_of_heirs_keeps_the_list_of_owners_short(table: SharedTable) -> None:
    """DynamoDB accepts at most 100 operands of IN, and a process may crash more often while the bus is missing."""
    member = await table.member()
    await member.record("a")
    for _ in range(3):
        heir = await table.member()
        name = member.member_id
        await member.kill()
        await heir.ledger.take_over(name)
        assert await owners_of(heir) == [1]
        member = heir
    assert set(await member.claim()) == {"a"}
    assert await table.verify() == Counters(recorded=1, pending=1)


async def test_heir_names_a_journal_that_has_expired(table: SharedTable) -> None:
    """No process ran for so long that DynamoDB deleted the journal, and with it the pending event."""
    member, observer = await table.member(), await table.start()
    await member.record("a")
    name = member.member_id
    await member.leave()
    for key in await observer.ledger.all_items():
        if key.p == f"j#{name}":
            await observer.ledger.delete_item(key)
    observer.ledger.set_now(NOON + timedelta(days=10))
    with capture_logs() as lines:
        await observer.beat(2)
    (line,) = [line for line in lines if line["event"] == "journal has expired, with any pending events"]
    assert (line["log_level"], line["member"], line["items"]) == ("error", name, 1)


async def test_process_that_wakes_after_its_journal_expired_is_fenced(table: SharedTable) -> None:
    """It was paused for so long that its heir found the end of the journal only by its last heartbeat."""
    paused, heir = await table.member(), await table.member()
    await paused.record("a")
    await paused.beat()
    await heir.beat()
    for key in await heir.ledger.all_items():
        if key.p == f"j#{paused.member_id}":
            await heir.ledger.delete_item(key)
    await heir.take_over_dead()
    with pytest.raises(LedgerUnavailable, match="took over this process"):
        await paused.record("b")
    await paused.beat()
    assert await paused.record("b") == 1
    assert set(await paused.claim()) == {"b"}


async def test_copy_of_a_running_process_joins_under_another_id(table: SharedTable) -> None:
    """A snapshot of a virtual machine is started twice: both processes have the same member."""
    original, copied = await table.member(), await table.start()
    await original.record("a")
    await original.beat()
    copied.ledger.become_copy_of(original.ledger)
    await original.record("b")
    with pytest.raises(LedgerUnavailable, match="took over this process"):
        await copied.record("c")
    await copied.beat()
    assert copied.member_id != original.member_id
    assert await copied.record("c") == 1
    await original.beat()
    assert set(await original.claim()) == {"a", "b"}
    assert set(await copied.claim()) == {"c"}
    assert await table.verify() == Counters(recorded=3, pending=3)
