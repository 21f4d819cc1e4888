"""The counters of all members, and their comparison with the items."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forwarder.errors import AuditDenied, AuditInterrupted, LedgerDenied, LedgerError
from forwarder.ledger.codec import from_micros
from forwarder.ledger.dynamodb.executions import DEAD_STATE, PENDING_STATE, PURGED_STATE, settlement_at, transition_at
from forwarder.ledger.dynamodb.member_items import MemberItem, totals_of, unpacked
from forwarder.ledger.dynamodb.member_list import MISSED_HEARTBEATS
from forwarder.ledger.dynamodb.replay import ReplayStore
from forwarder.ledger.dynamodb.schema import Place
from forwarder.ledger.dynamodb.window import add_effect, counters_of
from forwarder.ledger.models import Counters

SCAN_HINT = "AuditLedger=yes in infra/identity.yaml allows the scan"

MAX_AUDITS = 4
"""The counts of one audit, at most. Other processes may change the ledger during each."""


@dataclass(frozen=True, slots=True)
class _ExecutionCounts:
    """The number of executions in each state, and the owners of those that are pending, by digest."""

    states: Counter[int]
    owners: dict[str, Place]


class CounterStore(ReplayStore):
    """The counters, and their audit."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._dead_totals: dict[tuple[str, int], Counter[str]] = {}
        """The totals of dead members, by name and heartbeat. The page of a paused process often needs them."""

    async def counters(self) -> Counters:
        """Return the counters: this process's as they are now, and the others' as of their last heartbeats.

        A process that is no member, such as a command, also reads what dead members did after their last heartbeats.
        Maybe no process runs that will take them over, and their pending executions must be seen.
        """
        if self._member is not None:
            others = [totals_of(item) for name, item in self._members.items() if name != self._own_id]
            return counters_of([self._ended.totals, self._member.window.totals, *others])
        await self._load_members(consistent=True)
        totals = [
            await self._totals_of_dead(name, item) if self._seems_dead(item) else totals_of(item)
            for name, item in self._members.items()
        ]
        return counters_of([self._ended.totals, *totals])

    async def _totals_of_dead(self, name: str, item: MemberItem) -> Counter[str]:
        key = name, item["be"]
        if key not in self._dead_totals:
            self._dead_totals[key] = await self._exact(name, item)
        return self._dead_totals[key]

    def _seems_dead(self, item: MemberItem) -> bool:
        """Return whether a member stopped without a last heartbeat. A wrong clock only changes how much is read."""
        silent_seconds = (self._now() - from_micros(item["hb"])).total_seconds()
        return not {"gone", "lf"} & item.keys() and silent_seconds > MISSED_HEARTBEATS * self._heartbeat_seconds

    async def audit(self) -> Counters:
        """Count the items of the whole table. Raise LedgerError if the counters of the members differ from them.

        Other processes may change the ledger meanwhile. A difference is a fault if it is found twice while nothing
        changed. Raise AuditInterrupted if the ledger always changes, and AuditDenied if the keys may not scan it.
        """
        faults = 0
        before = await self._exact_totals()
        for _ in range(MAX_AUDITS):
            counted = await self._count_executions()
            after = await self._exact_totals()
            counters = counters_of(after.values())
            if not (fault := self._fault(counted, counters)):
                return counters
            faults += before == after
            if faults > 1:
                raise LedgerError(fault, hint=_REPORT)
            before = after
        raise AuditInterrupted(
            "other processes changed the ledger meanwhile", hint="repeat this while fewer executions fail"
        )

    async def _exact_totals(self) -> dict[str, Counter[str]]:
        """Return what each member has counted by now, and under an empty name what those before them had counted."""
        await self._load_members(consistent=True)
        members = list(self._members.items())
        return {"": self._ended.totals} | {name: await self._exact(name, item) for name, item in members}

    def _fault(self, counted: _ExecutionCounts, counters: Counters) -> str:
        """Return how the items differ from the counters, or an empty text."""
        states = counted.states
        orphans = [digest for digest, owner in counted.owners.items() if not self._can_be_delivered(owner)]
        if orphans:
            return f"{len(orphans)} pending executions have no owner, such as {orphans[0]}"
        pending, dead, purged = (states[state] for state in (PENDING_STATE, DEAD_STATE, PURGED_STATE))
        # Sent and purged executions are deleted after ledger.id_retention, and stay counted.
        is_equal = (pending, dead) == (counters.pending, counters.dead) and purged <= counters.purged
        if not is_equal or not counters.is_balanced or states.total() > counters.recorded:
            return f"the counters do not balance: {counters}, counted {dict(states)}"
        return ""

    async def _count_executions(self) -> _ExecutionCounts:
        """Read all items of the table. A ledger of millions fits no memory, so only their counts are kept."""
        counted = _ExecutionCounts(Counter(), {})
        try:
            async for key, item in self._table.scan("st", "o"):
                if key.p.startswith("x#"):
                    counted.states[item["st"]] += 1
                    if item["st"] == PENDING_STATE:
                        counted.owners[key.p.removeprefix("x#")] = Place.of(item["o"])
        except LedgerDenied as error:
            raise AuditDenied(error.message, hint=SCAN_HINT) from None
        return counted

    async def _exact(self, name: str, item: Mapping[str, Any]) -> Counter[str]:
        """Return what a member has counted: what lies below its mark, and the window above it."""
        if name == self._own_id and self._member is not None:
            return self._member.window.totals
        totals = unpacked(item["bl"])
        if "gone" in item:
            return totals
        async for number, entries in self._journals.entries_from(name, item["mk"]):
            executions = await self._executions.load([entry.digest for entry in entries])
            for index, entry in enumerate(entries):
                if (execution := executions.get(entry.digest)) is not None:
                    place = Place(name, number, index)
                    for letter in (transition_at(execution, place), settlement_at(execution, place)):
                        if letter:
                            add_effect(totals, letter)
        return totals

    def _can_be_delivered(self, owner: Place) -> bool:
        item = self._members.get(owner.member)
        return item is not None and "gone" not in item and owner.number >= item["mk"]


_REPORT = "keep the table and report this: it must not happen"
