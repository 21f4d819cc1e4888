"""The take-over of a member that has left or died.

Its heir is written into its item, so that its heartbeats fail. Its journal is sealed, so that it appends no more. Then
each entry from its mark on is journaled by the heir, together with all earlier owners, and adopted by one condition.
Without the seal, a paused member could record after it was read. Without the earlier owners, an execution whose
adoption was only journaled could belong to a member that nobody reads any more.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf

import msgspec
import structlog

from forwarder.errors import LedgerUnavailable
from forwarder.ledger.codec import from_micros
from forwarder.ledger.dynamodb.executions import (
    DEAD_STATE,
    PENDING_STATE,
    SENT_STATE,
    ExecutionItem,
    settlement_at,
    transition_at,
)
from forwarder.ledger.dynamodb.journal import SEAL
from forwarder.ledger.dynamodb.journal_items import EXTRA_LIFE, JournalEntry
from forwarder.ledger.dynamodb.member import Member, UnverifiedEntry
from forwarder.ledger.dynamodb.member_items import MemberItem, packed, unpacked
from forwarder.ledger.dynamodb.schema import Place, journal, member_key, number_text
from forwarder.ledger.dynamodb.table import Key
from forwarder.ledger.dynamodb.transitions import PlacedEntry, TransitionStore
from forwarder.ledger.dynamodb.window import (
    PURGED,
    RECORDED,
    REPLAYED,
    REQUEUED,
    RETRIED,
    UNVERIFIED,
    add_effect,
)

log = structlog.get_logger("fleet")

_BASE_STATES = {RETRIED: DEAD_STATE, PURGED: DEAD_STATE, REPLAYED: SENT_STATE, REQUEUED: SENT_STATE}

_IS_HEIR = "heir = :heir AND attribute_not_exists(gone)"
"""The condition under which an heir writes to the item of the member that it takes over."""

NO_BUSES = packed({})
"""The verified buses of a member of a version that saved none."""

MAX_GROUP_ENTRIES = 500
"""The entries that are adopted together. After each group, the mark of the dead member is saved."""


class TakeOverStore(TransitionStore):
    """The operations by which a member becomes another's heir."""

    async def _take_over(self, member: Member, other: MemberItem) -> None:
        item = await self._table.update(
            member_key(other["s"]),
            "SET heir = :heir",
            condition="be = :be AND attribute_not_exists(gone)"
            " AND (attribute_not_exists(heir) OR heir = :before OR heir = :heir)",
            heir=member.id,
            be=other["be"],
            before=other.get("heir", ""),
        )
        if item is None:  # it is alive, or another heir was faster
            return
        name, adopted = other["s"], 0
        below, verified = unpacked(item["bl"]), unpacked(item.get("vs", NO_BUSES))
        journaled, end = await self._sealed(name, item["mk"], item["nx"])
        if end < item["nx"] and self._now() - from_micros(item["hb"]) > EXTRA_LIFE / 2:
            hint = "no forwarder ran for days; docs/fleet.md says how long the table keeps pending events"
            log.error("journal has expired, with any pending events", member=name, items=item["nx"] - end, hint=hint)
        for number, placed in enumerate(_grouped(journaled)):
            if number and not await self._save_mark(member, name, placed[0][0].number, below):
                return
            effects = Counter[str]()
            adopted += await self._adopt_all(member, placed, effects, verified)
            below.update(effects)
        await self._table.update(
            member_key(name),
            "SET gone = :gone, sv = :sv, mk = :mk, nx = :mk, bl = :bl, tt = :bl",
            condition=_IS_HEIR,
            gone=1,
            sv=b"",
            mk=end,
            bl=packed(below),
            heir=member.id,
        )
        log.info("entries of a member taken over", member=name, host=other.get("host", ""), entries=adopted)

    async def _save_mark(self, member: Member, name: str, mark: int, below: Counter[str]) -> bool:
        """Save how far a take-over has come, so that another attempt goes on there. Return whether it may go on."""
        item = await self._table.update(
            member_key(name), "SET mk = :mk, bl = :bl", condition=_IS_HEIR, mk=mark, bl=packed(below), heir=member.id
        )
        return item is not None

    async def _sealed(self, name: str, mark: int, next_number: int) -> tuple[list[list[PlacedEntry]], int]:
        """Seal a journal. Return its entries from the mark on, item by item, and the number of the seal.

        The last items may have expired. So the number after the member's last heartbeat is sealed as well, and the one
        before, whose append may have failed.
        The entries have no details: those of a member with a large backlog need not fit in the memory of its heir.
        """
        items: list[list[PlacedEntry]] = []
        number = mark
        while True:
            async for found, entries in self._journals.entries_from(name, number):
                items.append([
                    (Place(name, found, index), msgspec.structs.replace(entry, detail=b""))
                    for index, entry in enumerate(entries)
                ])  # fmt: skip
                number = found + 1
            sealed = [
                await self._seal(name, each)
                for each in sorted({number, next_number - 1, next_number})
                if each >= number
            ]
            if all(sealed):
                return items, number

    async def _seal(self, name: str, number: int) -> bool:
        """Write a seal. Return False if the number is taken."""
        return await self._table.put(Key(journal(name), number_text(number)), SEAL, condition="attribute_not_exists(p)")

    async def _adopt_all(
        self, member: Member, placed: Sequence[PlacedEntry], effects: Counter[str], verified: Mapping[str, int]
    ) -> int:
        """Adopt the entries of some items, and add to `effects` what its member did with them. Return how many.

        `verified` has the last settlement of their member before each bus was verified.
        """
        digests = [entry.digest for _, entry in placed]
        items = await self._executions.load(digests)
        wanted = [entry for place, entry in placed if needs_heir(entry, place, items.get(entry.digest))]
        inherited = [
            inherit(entry, place, items.get(entry.digest))
            for place, entry in placed
            if needs_heir(entry, place, items.get(entry.digest))
        ]
        await self._make_transitions(member, inherited, self._now())
        if self._are_unresolved(member, inherited):
            reason = "entries of another member are still being adopted"
            raise LedgerUnavailable(reason, hint="the take-over continues at the next heartbeat")
        if wanted:  # their owner may have settled some meanwhile
            items |= await self._executions.load([entry.digest for entry in wanted])
        sent = [
            (entry, item)
            for place, entry in placed
            if (item := items.get(entry.digest)) is not None and self._is_unverified(entry, place, item, verified)
        ]
        unverified = [
            msgspec.structs.replace(
                entry, kind=UNVERIFIED, owners=(), base=item["o"], payload=str(item["pl"]), detail=b""
            )
            for entry, item in sent
        ]
        await self._inherit_unverified(member, unverified, [item for _, item in sent])
        for place, entry in placed:
            if (item := items.get(entry.digest)) is not None:
                for letter in (transition_at(item, place), settlement_at(item, place)):
                    if letter:
                        add_effect(effects, letter)
                if transition_at(item, place):
                    await self._after_transition(entry)
        return len(inherited)

    def _is_unverified(
        self, entry: JournalEntry, place: Place, item: ExecutionItem, verified: Mapping[str, int]
    ) -> bool:
        """Return whether an event was sent by the member's place to a bus that was verified before, maybe not since."""
        if item["st"] != SENT_STATE or item["bs"] not in self._verified_buses:
            return False
        if entry.kind == UNVERIFIED:
            is_its_own, seq = entry.base == item["o"], entry.seq or inf
        else:  # a later place of the same member is read as well
            is_its_own, seq = str(place) == item["o"], item.get("sq", inf)
        return bool(is_its_own and seq > verified.get(item["bs"], 0))

    @property
    def inherited_unverified(self) -> int:
        return self._inherited_unverified

    async def _inherit_unverified(
        self, member: Member, entries: Sequence[JournalEntry], items: Sequence[ExecutionItem]
    ) -> None:
        if not entries:
            return
        self._settlement_seq += 1  # a verification that has begun says nothing about them
        seq = self._settlement_seq
        numbered = [msgspec.structs.replace(entry, seq=seq) for entry in entries]
        places = await member.journal.append(numbered, self._journal_expiry(self._now()))
        self._inherited_unverified += len(numbered)
        member.unverified += [
            UnverifiedEntry(seq, item["bs"], place, item["o"], entry)
            for place, entry, item in zip(places, numbered, items, strict=True)
        ]

    @property
    def _verified_buses(self) -> list[str]:
        """Return the buses that were verified at least once."""
        return list(self._ledger_item.get("verified_buses", []))


def _grouped(items: Sequence[Sequence[PlacedEntry]]) -> list[list[PlacedEntry]]:
    """Return the entries of items in groups of whole items."""
    groups: list[list[PlacedEntry]] = []
    for placed in items:
        if not groups or len(groups[-1]) + len(placed) > MAX_GROUP_ENTRIES:
            groups.append([])
        groups[-1] += placed
    return [group for group in groups if group]


def needs_heir(entry: JournalEntry, place: Place, item: ExecutionItem | None) -> bool:
    """Return whether the transition that a member journaled is still to be made, or to be delivered."""
    if entry.kind == UNVERIFIED:
        return False
    if item is None:
        return entry.kind == RECORDED
    owner: str = item["o"]
    if item["st"] == PENDING_STATE:
        return owner in (str(place), *entry.owners)
    return item["st"] == _BASE_STATES.get(entry.kind) and owner == entry.base


def inherit(entry: JournalEntry, place: Place, item: ExecutionItem | None) -> JournalEntry:
    """Return the entry that the heir journals: the same transition, with one more earlier owner.

    Owners before the present one are left out. Each owner adopts from earlier ones only, so none of them can own the
    execution again. DynamoDB accepts at most 100 owners in a condition.
    """
    owners = (*entry.owners, str(place))
    if item is not None and item["st"] == PENDING_STATE and item["o"] in owners:
        owners = owners[owners.index(item["o"]) :]
    return msgspec.structs.replace(entry, owners=owners, payload=entry.payload or str(place), detail=b"")
