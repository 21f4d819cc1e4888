"""The items of executions: who owns each, its state, and the transitions that were made.

Each transition is one conditional write, which adds `PLACE LETTER` to the log of the item. A member that lost the
reply, or that takes over another, finds there whether the transition was made.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from forwarder.errors import LedgerUnavailable
from forwarder.ledger import attempts
from forwarder.ledger.codec import from_micros, to_micros
from forwarder.ledger.dynamodb.journal_items import EXTRA_LIFE, JournalEntry
from forwarder.ledger.dynamodb.member import OwnedEntry
from forwarder.ledger.dynamodb.schema import Place, execution_key, feed_text
from forwarder.ledger.dynamodb.table import Table
from forwarder.ledger.dynamodb.values import Value
from forwarder.ledger.dynamodb.window import (
    ADOPTED,
    DEAD,
    PURGED,
    RECORDED,
    REPLAYED,
    REQUEUED,
    RETRIED,
    SENT,
)
from forwarder.model import Feed

ExecutionItem = Mapping[str, Any]

PENDING_STATE, SENT_STATE, DEAD_STATE, PURGED_STATE = range(4)

_BASE_STATES = {RETRIED: DEAD_STATE, PURGED: DEAD_STATE, REPLAYED: SENT_STATE, REQUEUED: SENT_STATE}
"""The state from which each later transition leads."""

MAX_TRIES = 5
"""An item that other members change between two writes is written again at most this often."""


@dataclass(slots=True)
class Retention:
    """The times for which ids and payloads are kept."""

    ids: timedelta
    payloads: timedelta

    def execution_expiry(self, stopped: datetime, now: datetime) -> int:
        """Return when the item of a settled execution may be deleted, in seconds since 1970."""
        life = self.ids + EXTRA_LIFE
        # The sum is one of numbers, because a stop in the year 9999 leads out of the calendar.
        return int(max(stopped, now).timestamp() + life.total_seconds())


@dataclass(frozen=True, slots=True)
class TransitionResult:
    """The result of a journaled transition. `transition` is the letter in the log, or empty if it was not made.

    `item` is the execution if the place owns it and it is pending.
    """

    transition: str = ""
    item: ExecutionItem | None = None


class Executions:
    """The executions of a ledger."""

    def __init__(self, table: Table, retention: Retention) -> None:
        self._table = table
        self._retention = retention

    async def load(self, digests: Collection[str], *, consistent: bool = True) -> dict[str, ExecutionItem]:
        """Return the items of executions that exist, by digest."""
        keys = {execution_key(each): each for each in digests}
        found = await self._table.get_many(keys, consistent=consistent)
        return {keys[key]: item for key, item in found.items()}

    async def apply(self, entry: JournalEntry, place: Place, now: datetime) -> TransitionResult:
        """Make the transition that a member has journaled at `place`, unless another member made it."""
        for _ in range(MAX_TRIES):
            if entry.owners and (item := await self._adopt(entry, place)) is not None:
                return TransitionResult(ADOPTED, item)
            if (item := await self._first_transition(entry, place, now)) is not None:
                return TransitionResult(entry.kind, item if item["st"] == PENDING_STATE else None)
            current = await self._table.get(execution_key(entry.digest))
            # An earlier owner may have made its late transition between these writes: the entry is to be adopted.
            if current is not None and not _is_pending_with(current, entry.owners):
                transition = transition_at(current, place)
                is_owned = current["o"] == str(place) and current["st"] == PENDING_STATE
                return TransitionResult(transition, current if transition and is_owned else None)
        raise LedgerUnavailable(
            f"the execution {entry.execution_id} changes while it is written",
            hint="the next heartbeat writes it again; check whether another forwarder is paused repeatedly",
        )

    async def settle(
        self,
        owned: OwnedEntry,
        transition: str,
        now: datetime,
        *,
        result: str,
        reason: str,
        bus: str,
        seq: int,
        dead_letter: str = "",
    ) -> bool:
        """Settle an entry as sent or dead. Return False if another place owns it by now, or it was settled before.

        `seq` is the number of the settlement, in the process that makes it.
        """
        place, key = str(owned.place), execution_key(owned.journaled.digest)
        expires = self._retention.execution_expiry(from_micros(owned.journaled.time), now)
        state = SENT_STATE if transition == SENT else DEAD_STATE
        # A dead letter waits for a person as long as it takes.
        changes = (
            "SET st = :st, ev = :ev, rs = :rs, bs = :bs, sa = :sa, sq = :sq, n = :n, h = :h, "
            "lg = list_append(lg, :lg), "
            + ("expires = :x REMOVE dl" if transition == SENT else "dl = :x REMOVE expires")
        )
        item = await self._table.update(
            key,
            changes,
            condition="o = :o AND st = :pending",
            st=state,
            ev=result,
            rs=reason,
            bs=bus,
            sa=to_micros(now),
            sq=seq,
            n=owned.attempts,
            h=attempts.encode(owned.history),
            lg=[f"{place} {transition}"],
            x=expires if transition == SENT else dead_letter,
            o=place,
            pending=PENDING_STATE,
        )
        if item is not None:
            return True
        current = await self._table.get(key)
        return current is not None and f"{place} {transition}" in current["lg"]

    async def save_attempts(self, owned: OwnedEntry) -> None:
        """Save the attempts of a pending entry, if it is still owned."""
        await self._table.update(
            execution_key(owned.journaled.digest),
            "SET n = :n, un = :un, h = :h, du = :du",
            condition="o = :o AND st = :pending",
            n=owned.attempts,
            un=owned.unclassified_attempts,
            du=to_micros(owned.due_at),
            h=attempts.encode(owned.history),
            o=str(owned.place),
            pending=PENDING_STATE,
        )

    async def _adopt(self, entry: JournalEntry, place: Place) -> ExecutionItem | None:
        owners = {f"o{number}": owner for number, owner in enumerate(entry.owners)}
        return await self._table.update(
            execution_key(entry.digest),
            "SET o = :o, pl = :pl, lg = list_append(lg, :lg)",
            condition=f"st = :pending AND o IN ({', '.join(f':{name}' for name in owners)})",
            o=str(place),
            pl=entry.payload or str(place),
            lg=[f"{place} {ADOPTED}"],
            pending=PENDING_STATE,
            **owners,
        )

    async def _first_transition(self, entry: JournalEntry, place: Place, now: datetime) -> ExecutionItem | None:
        """Make the transition itself. Return the item, or None if the execution is not in the state before it."""
        key = execution_key(entry.digest)
        if entry.kind == RECORDED:
            item: dict[str, Value] = {
                "st": PENDING_STATE,
                "o": str(place),
                "pl": entry.payload or str(place),
                "f": feed_text(Feed(entry.workflow_id, entry.user_id or None)),
                "tm": entry.time,
                "ra": entry.recorded_at,
                "lg": [f"{place} {RECORDED}"],
            }
            return item if await self._table.put(key, item, condition="attribute_not_exists(p)") else None
        changes = "SET st = :st, o = :o, lg = list_append(lg, :lg)"
        values: dict[str, Any] = {"st": PENDING_STATE, "o": str(place), "lg": [f"{place} {entry.kind}"]}
        if entry.kind == PURGED:
            values["st"] = PURGED_STATE
            values["x"] = self._retention.execution_expiry(from_micros(entry.time), now)
            changes += ", expires = :x REMOVE dl"
        else:
            values |= {"pl": entry.payload or str(place), "sn": entry.send_number, "un": 0}
            changes += ", pl = :pl, sn = :sn, un = :un REMOVE dl, expires"
        return await self._table.update(
            key,
            changes,
            condition="st = :base_state AND o = :base",
            base_state=_BASE_STATES[entry.kind],
            base=entry.base,
            **values,
        )


def _is_pending_with(item: ExecutionItem, owners: Collection[str]) -> bool:
    """Return whether an execution is pending, and one of these places owns it."""
    return item["st"] == PENDING_STATE and item["o"] in owners


def transition_at(item: ExecutionItem, place: Place) -> str:
    """Return the first transition that a place made, or an empty text if it made none."""
    prefix = f"{place} "
    return next((each.removeprefix(prefix) for each in item["lg"] if each.startswith(prefix)), "")


def settlement_at(item: ExecutionItem, place: Place) -> str:
    """Return the letter of the settlement that a place made, or an empty text if it made none."""
    return next((letter for letter in (SENT, DEAD) if f"{place} {letter}" in item["lg"]), "")


def owned_entry(entry: JournalEntry, place: Place, applied: "TransitionResult", now: datetime) -> OwnedEntry:
    """Return a pending execution as the entry of its new owner. An adopted one keeps the time at which it is due.

    Its detail is left in the journal: during an outage of the bus, those of all pending entries need not fit in memory.
    """
    item = applied.item or {}
    adopted_due = from_micros(item.get("du", entry.recorded_at))
    due_at = adopted_due if applied.transition == ADOPTED else now
    history = attempts.readable(item.get("h"))
    settlements = [each[-1] for each in item["lg"] if each[-1] in (SENT, DEAD)]
    if settlements and settlements[-1] == SENT:
        history = attempts.extended(history, attempts.ACCEPTED, from_micros(item["sa"]))
    return OwnedEntry(
        place,
        msgspec.structs.replace(entry, payload=entry.payload or str(place), detail=b""),
        due_at,
        attempts=item.get("n", 0),
        unclassified_attempts=item.get("un", 0),
        history=history,
        send_number=item.get("sn", 1),
    )


def is_expired(item: ExecutionItem, now: datetime) -> bool:
    """Return whether an item is to be treated as deleted. DynamoDB deletes expired items late."""
    return bool(item.get("expires", now.timestamp() + 1) <= now.timestamp())
