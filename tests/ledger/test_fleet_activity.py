"""The activity of a shared ledger, read while a process records."""

import asyncio

import pytest

from forwarder.ledger.dynamodb.schema import digest
from tests.harness.dynamodb_faults import Hold
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
