"""The activity of a shared ledger, read while a process records."""

import asyncio

import pytest

from forwarder.errors import LedgerUnavailable
from forwarder.ledger.dynamodb import journals
from forwarder.ledger.dynamodb.schema import digest
from tests.harness.dynamodb_faults import DENIED, PASS, Fault, Hold, Request
from tests.ledger.fleet_table import SharedTable

pytestmark = pytest.mark.dynamodb


@pytest.mark.parametrize("starts", ["before", "while the first is recorded"])
async def test_activity_has_an_entry_that_is_recorded_late(table: SharedTable, starts: str) -> None:
    """It is journaled before a later one, and recorded after the later one was read."""
    member, follower = await table.member(), await table.start()
    position = await follower.ledger.last_activity()
    member.proxy.plan = hold = Hold(lambda request: request.writes(f"x#{digest('first')}"))
    recording = asyncio.create_task(member.record("first"))
    await hold.reached.wait()
    if starts != "before":
        position = await follower.ledger.last_activity()
    await member.record("second")
    found: list[list[str]] = []
    for late in (False, True):
        if late:
            hold.release()
            await recording
        for _ in range(2):
            activity = await follower.ledger.activity(position, 10)
            position = activity.position
            found.append([each.entry.execution_id for each in activity.recorded])
    assert found == [["second"], [], ["first"], []]
    await member.send((await member.tokens())["first"])
    assert [each.entry.execution_id for each in (await follower.ledger.activity(position, 10)).sent] == ["first"]


async def test_activity_forgets_an_entry_that_another_recorded(table: SharedTable) -> None:
    """Both processes have journaled it. It is returned once."""
    members, follower = [await table.member(), await table.member()], await table.start()
    position = await follower.ledger.last_activity()
    members[0].proxy.plan = hold = Hold(lambda request: request.writes(f"x#{digest('both')}"))
    recording = asyncio.create_task(members[0].record("both"))
    await hold.reached.wait()
    await members[0].record("other")
    found: list[str] = []
    for late in (False, True):
        if late:
            assert await members[1].record("both") == 1
            hold.release()
            assert await recording == 0
        for _ in range(2):
            activity = await follower.ledger.activity(position, 10)
            position = activity.position
            found += [each.entry.execution_id for each in activity.recorded]
    assert found == ["other", "both"]


async def test_activity_that_fails_is_returned_by_the_next_call(
    table: SharedTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of it was read before a request failed."""
    monkeypatch.setattr(journals, "MAX_CACHED_BYTES", 1)
    member, follower = await table.member(), await table.start()
    position = await follower.ledger.last_activity()
    member.proxy.plan = hold = Hold(lambda request: request.writes(f"x#{digest('late')}"))
    recording = asyncio.create_task(member.record("late"))
    await hold.reached.wait()
    for name in "abc":
        await member.record(name)
    position = (await follower.ledger.activity(position, 10)).position
    hold.release()
    await recording
    tokens = await member.tokens()
    for name in "abc":
        await member.send(tokens[name])
    found: set[str] = set()
    for failing in range(1, 30):
        follower.proxy.plan = Nth(failing)
        try:
            activity = await follower.ledger.activity(position, 10)
        except LedgerUnavailable:
            continue
        position = activity.position
        found |= {f"found {each.entry.execution_id}" for each in activity.recorded}
        found |= {f"sent {each.entry.execution_id}" for each in activity.sent}
    assert found == {"found late", "sent a", "sent b", "sent c"}


class Nth:
    """A plan that refuses the request of this number, and all of its repetitions."""

    def __init__(self, number: int) -> None:
        self._left = number

    def __call__(self, _: Request) -> Fault:
        self._left -= 1
        return PASS if self._left > 0 else DENIED
