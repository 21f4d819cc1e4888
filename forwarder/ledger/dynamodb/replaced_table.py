"""The end of a membership whose heartbeat was refused: the member has an heir, or its table was created again.

A new table does not have the member's item. Until its next heartbeat, the member may have recorded executions there, so
it is saved as one that has left, and an heir delivers them. The item of a member that was taken over is deleted in the
end as well, but its journal stays sealed.
"""

import structlog

from forwarder.ledger.dynamodb.leaving import LeavingStore
from forwarder.ledger.dynamodb.member import Member
from forwarder.ledger.dynamodb.member_items import packed
from forwarder.ledger.dynamodb.schema import member_key

log = structlog.get_logger("fleet")


class ReplacedTableStore(LeavingStore):
    """The operation that ends a membership."""

    async def _end_membership(self, member: Member) -> None:
        is_unknown = await self._table.get(member_key(member.id)) is None
        if is_unknown and await member.journal.close():
            await self._begin_again(member)
        self._drop(member)

    async def _begin_again(self, member: Member) -> None:
        """Save the member in a new table, as one that has left. Other use cases extend it."""
        item = self._heartbeat(member) | {"be": 0, "host": self._host, "lf": 1, "mk": 1, "op": 0, "rp": 0}
        item |= {"bl": packed({}), "tt": packed({})}  # what was counted is in the old table
        await self._table.put(member_key(member.id), item, condition="attribute_not_exists(p)")
        log.warning(
            "the table of the ledger was created again",
            table=str(self._table.location),
            hint="what is still listed is recorded and sent again; see who deleted the table",
        )
