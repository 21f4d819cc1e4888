"""The deletion of members that ended: their counters move into the item of the ledger, and their own items go.

Each heartbeat reads the items of all members. Each start of a process leaves one, and each command that changes
entries. The deletion takes two heartbeats: the first adds the counters of some ended members to the ledger's item, with
their names, in one write. From then on they count only there. The second deletes their items, and removes the names.
Nothing changes the item of a member that was taken over, so that each step may be repeated.
"""

from collections import Counter
from typing import Any

import structlog

from forwarder.errors import LedgerError
from forwarder.ledger.codec import to_micros
from forwarder.ledger.dynamodb.journal_items import EXTRA_LIFE
from forwarder.ledger.dynamodb.member import Member
from forwarder.ledger.dynamodb.member_items import EndedMembers, totals_of
from forwarder.ledger.dynamodb.replaced_table import ReplacedTableStore
from forwarder.ledger.dynamodb.schema import LEDGER, member_key
from forwarder.ledger.fleet import rendezvous

log = structlog.get_logger("fleet")

MIN_ENDED = 10
"""The members that are counted together at least, so that the two writes of the ledger's item are rare."""

MAX_ENDED = 50
"""The members that are counted together at most."""

MAX_KEPT = 200
"""The ended processes, and as many ended commands, whose journals are still read by lists of events and by `replay`.

A process that dies every minute must not fill the table.
"""

TASK = "ended members"
"""The name by which one of the living members is chosen for this."""


class EndedStore(ReplacedTableStore):
    """The deletion of members that ended."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._has_clean_up_failed = False

    async def _before_heartbeat(self, member: Member) -> None:
        await super()._before_heartbeat(member)
        if rendezvous(TASK, [each.id for each in self._fleet(member).members]) != member.id:
            return
        if self._ended.names or len(self._deletable()) >= MIN_ENDED:
            await self._do_beside_heartbeats("ended members", self._clean_up)

    async def _clean_up(self) -> None:
        """Take one step of the deletion. Log an error once, and let it keep the heartbeat from no other work.

        Keys that may not delete items would fail at each heartbeat.
        """
        try:
            await self._count_or_delete()
        except LedgerError as error:
            if not self._has_clean_up_failed:
                log.warning("ended members not deleted", reason=error.message, hint=error.hint)
            self._has_clean_up_failed = True
        else:
            self._has_clean_up_failed = False

    async def _count_or_delete(self) -> None:
        if self._ended.names:
            await self._delete_ended(self._ended)
            return
        # The decision needs items that are as old as each other: a member deleted meanwhile must not count twice.
        await self._load_members(consistent=True)
        await self._count_ended(self._deletable()[:MAX_ENDED])

    def _deletable(self) -> list[str]:
        """Return the ended members that are deleted, the oldest first: their journals are empty, have expired, or are
        displaced by MAX_KEPT newer ones.
        """
        horizon = to_micros(self._now() - self._retention.payloads - EXTRA_LIFE)
        deletable: list[tuple[int, str]] = []
        for is_command in (False, True):  # many commands must not displace the processes that recorded
            ended = sorted(
                (item["hb"], name)
                for name, item in self._members.items()
                if "gone" in item and ("cm" in item) is is_command
            )
            first_kept = len(ended) - MAX_KEPT
            deletable += [
                (at, name)
                for number, (at, name) in enumerate(ended)
                if self._members[name]["nx"] <= 1 or at < horizon or number < first_kept
            ]
        return [name for _, name in sorted(deletable)]

    async def _count_ended(self, names: list[str]) -> None:
        """Count members in the ledger's item. Nothing happens if another process was faster."""
        totals = Counter(self._ended.totals)
        for name in names:
            totals.update(totals_of(self._members[name]))
        # Another process may have counted some since the last heartbeat, whose items are not deleted yet.
        await self._save_ended(EndedMembers(totals, self._ended.names.union(names), self._ended.version + 1))

    async def _delete_ended(self, ended: EndedMembers) -> None:
        for name in sorted(ended.names):
            await self._table.delete(member_key(name))
        await self._save_ended(EndedMembers(ended.totals, frozenset(), ended.version + 1))

    async def _save_ended(self, ended: EndedMembers) -> None:
        values = ended.values()
        changes = ", ".join(f"{name} = :{name}" for name in values)
        item = await self._table.update(
            LEDGER,
            f"SET {changes}",
            condition="ended_version = :before OR (:before = :none AND attribute_not_exists(ended_version))",
            before=ended.version - 1,
            none=0,
            **values,
        )
        if item is not None:
            self._ledger_item, self._ended = item, ended
            self._members = {name: each for name, each in self._members.items() if name not in ended.names}
