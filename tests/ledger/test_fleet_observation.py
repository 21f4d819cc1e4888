"""The observation of other members by their heartbeats."""

import pytest

from forwarder.ledger.dynamodb import member_list
from tests.ledger.fleet_table import SharedTable

pytestmark = pytest.mark.dynamodb


async def test_reloads_in_a_row_bury_nobody(table: SharedTable) -> None:
    """Each reload of the settings writes a heartbeat at once, and the others have written none meanwhile."""
    member, reloading = await table.member(), await table.member()
    name = member.member_id
    reloading.ledger.observes_each_heartbeat = False
    await reloading.beat(20)
    await member.beat()
    assert member.member_id == name
    assert len((await reloading.ledger.beat()).members) == 2


async def test_process_with_a_longer_interval_is_not_buried(
    table: SharedTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interval is changed in a rolling update: for a while, the processes have different ones."""
    monkeypatch.setattr(member_list, "OBSERVATION_SHARE", 0.0)
    slow, fast = await table.member(), await table.member()
    name = slow.member_id
    fast.ledger.set_heartbeat_seconds(10)
    fast.ledger.observes_each_heartbeat = False
    await fast.beat(25)  # four intervals of the other
    await slow.beat()
    assert slow.member_id == name
    await slow.kill()
    await fast.beat(35)
    assert "gone" in await fast.ledger.member_item(name)
