"""A member: one start of a process on the ledger. It holds the entries that it owns; the payloads stay in the table."""

import heapq
import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from forwarder.ledger.attempts import Attempts
from forwarder.ledger.codec import from_micros
from forwarder.ledger.dynamodb.journal import Journal
from forwarder.ledger.dynamodb.journal_items import JournalEntry
from forwarder.ledger.dynamodb.journals import Journals
from forwarder.ledger.dynamodb.schema import Place
from forwarder.ledger.dynamodb.table import Table
from forwarder.ledger.dynamodb.window import Window
from forwarder.ledger.models import MAX_POSTPONEMENT
from forwarder.model import Feed, Token


@dataclass(slots=True)
class OwnedEntry:
    """A pending entry that this member owns. `place` is its owner in the table, and the token of its claim."""

    place: Place
    journaled: JournalEntry
    due_at: datetime
    attempts: int = 0
    unclassified_attempts: int = 0
    history: Attempts = ()
    send_number: int = 1
    has_unsaved_attempts: bool = False
    order: int = 0

    @property
    def token(self) -> str:
        return str(self.place)

    @property
    def feed(self) -> Feed:
        return Feed(self.journaled.workflow_id, self.journaled.user_id or None)

    @property
    def recorded_at(self) -> datetime:
        return from_micros(self.journaled.recorded_at)

    def continue_from(self, old: "OwnedEntry") -> None:
        """Copy what is only in memory from the same entry at another place."""
        self.due_at = old.due_at
        self.attempts, self.unclassified_attempts = old.attempts, old.unclassified_attempts
        self.history, self.has_unsaved_attempts = old.history, old.has_unsaved_attempts


@dataclass(frozen=True, slots=True)
class UnverifiedEntry:
    """A sent entry whose bus was not verified since. It is in a journal at `place`, and `owner` settled it."""

    seq: int
    bus: str
    place: Place
    owner: str
    journaled: JournalEntry


@dataclass(slots=True)
class Member:
    """The state of one membership. After another start or a take-over, the process joins as a new member."""

    table: Table
    journals: Journals
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    window: Window = field(default_factory=Window)
    beats: int = 0
    sent_at: float = 0.0
    """When the last successful heartbeat was sent, on the clock that also runs while the machine sleeps, in seconds."""
    has_observed: bool = False
    """True after the first observation of the other members."""
    is_draining: bool = False
    """A member that only waits for its last requests has no feeds, and takes over nothing."""
    pending: dict[str, OwnedEntry] = field(default_factory=dict)
    claimed: set[str] = field(default_factory=set)
    unresolved: dict[Place, JournalEntry] = field(default_factory=dict)
    """Entries in the journal of which it is unknown whether they own their execution."""
    resolving: set[Place] = field(default_factory=set)
    """The places whose transitions are being made."""
    unverified: list[UnverifiedEntry] = field(default_factory=list)
    verified_seqs: dict[str, int] = field(default_factory=dict)
    """The last settlement before each bus was verified. All events that were sent until then have arrived."""
    journal: Journal = field(init=False)
    _due: list[tuple[datetime, int, str]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.journal = Journal(self.table, self.journals, self.id, self.window)

    def own(self, entry: OwnedEntry) -> None:
        """Add an entry that this member owns from now on."""
        entry.order = next(self._order)
        self.pending[entry.token] = entry
        self._push(entry)

    def postpone(self, entry: OwnedEntry, due_at: datetime) -> None:
        entry.due_at = due_at
        self._push(entry)

    def disown(self, token: str) -> OwnedEntry | None:
        """Remove an entry that is settled, or another member's. Its place is still open in the window."""
        self.claimed.discard(token)
        return self.pending.pop(token, None)

    def may_resolve(self, place: Place) -> bool:
        """Return whether an unresolved transition may be made: not while the entry that it replaces is being sent."""
        return place not in self.resolving and self.claimed.isdisjoint(self.unresolved[place].owners)

    def claim_owners(self, entries: Iterable[JournalEntry]) -> list[str]:
        """Claim the unclaimed entries of this member that other entries replace, and return their tokens."""
        owners = (owner for entry in entries for owner in entry.owners)
        tokens = [owner for owner in owners if owner in self.pending and owner not in self.claimed]
        self.claimed.update(tokens)
        return tokens

    def take_due(self, limit: int, now: datetime) -> list[OwnedEntry]:
        """Claim at most `limit` entries that are due, the earliest first.

        An entry due later than any postponement allows was postponed before the clock was set back, and is due as well.
        """
        taken: list[OwnedEntry] = []
        while len(taken) < limit and (entry := self._first()) is not None:
            if now < entry.due_at <= now + MAX_POSTPONEMENT:
                break
            heapq.heappop(self._due)
            self.claimed.add(entry.token)
            taken.append(entry)
        return taken

    def next_due(self) -> datetime | None:
        entry = self._first()
        return None if entry is None else entry.due_at

    def release(self, tokens: Collection[Token]) -> None:
        for token in self.claimed.intersection(map(str, tokens)):
            self.claimed.discard(token)
            if entry := self.pending.get(token):
                self._push(entry)

    def oldest_pending(self) -> datetime | None:
        return min((each.recorded_at for each in self.pending.values()), default=None)

    def verified(self, bus: str, seq: int) -> None:
        """Close the sent entries of a bus that was verified after this settlement."""
        self.verified_seqs[bus] = max(seq, self.verified_seqs.get(bus, 0))
        self._close_unverified([each for each in self.unverified if each.bus == bus and each.seq <= seq])

    def take_unverified(self, bus: str) -> list[UnverifiedEntry]:
        """Return the sent entries of a bus that was not verified since. They are still open."""
        return [each for each in self.unverified if each.bus == bus]

    def _close_unverified(self, entries: Sequence[UnverifiedEntry]) -> None:
        closing = {id(each) for each in entries}
        for each in self.unverified:
            if id(each) in closing:  # others were closed meanwhile
                self.window.close(each.place.number)
        self.unverified = [each for each in self.unverified if id(each) not in closing]

    def forget_unverified(self, entries: Iterable[UnverifiedEntry]) -> None:
        """Close sent entries that are pending again."""
        self._close_unverified(list(entries))

    def _push(self, entry: OwnedEntry) -> None:
        heapq.heappush(self._due, (entry.due_at, entry.order, entry.token))

    def _first(self) -> OwnedEntry | None:
        """Return the unclaimed entry that is due first. Positions of the heap that no longer count are dropped."""
        while self._due:
            due_at, _, token = self._due[0]
            entry = self.pending.get(token)
            if entry is not None and token not in self.claimed and entry.due_at == due_at:
                return entry
            heapq.heappop(self._due)
        return None
