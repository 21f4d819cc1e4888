"""What the loops and the verbs may ask of a ledger, whatever keeps it.

An executionId is recorded once, ever, and is then in exactly one state: owed → sent | dead, dead → owed (retry),
dead → purged, and sent | purged → forgotten. So the books balance at any commit:
recorded = owed + sent + dead + purged + forgotten.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from forwarder.ledger.nouns import (
    Books,
    DeadLetter,
    FeedStatus,
    Held,
    Pulse,
    Reading,
    Replayable,
    Settlement,
    Traffic,
    Window,
)
from forwarder.model import Checkpoint, Entry, Feed, Owed


class Ledger(Protocol):
    """Every method commits before it returns, and raises LedgerError where it could not."""

    async def checkpoint(self, feed: Feed) -> Checkpoint:
        """Of a feed that was begun."""

    async def begin(self, new: Mapping[Feed, Checkpoint], *, discovered_at: datetime | None = None) -> None:
        """Keep where feeds begin that have no checkpoint yet; and, in the same commit, when they were discovered."""

    async def discovered_at(self) -> datetime | None:
        """When the last complete discovery began."""

    async def known(self, execution_ids: Collection[str]) -> set[str]:
        """Those of the ids that are recorded already."""

    async def record(
        self, feed: Feed, entries: Sequence[Entry], *, now: datetime, checkpoint: Checkpoint | None = None
    ) -> int:
        """Make entries owed, but for ids already recorded, and move the checkpoint, in one commit; how many are new."""

    async def take(self, limit: int, *, now: datetime) -> list[Owed]:
        """Owed entries that are due, oldest first; none is handed out again before it is settled or released."""

    def release(self, tokens: Collection[int]) -> None:
        """Hand back entries that were taken and not sent: they are owed as before."""

    async def next_due(self) -> datetime | None:
        """When the first entry that is not taken falls due, or None where nothing is owed."""

    async def settle(self, settlements: Sequence[Settlement], *, now: datetime, bus: str = "") -> int:
        """Book what a bus answered of entries that were taken, in one commit; its number.

        Settling an entry again changes nothing.
        """

    async def last_settle(self) -> int:
        """The number of the last settlement: an order that no clock disturbs."""

    async def note_bus(self, name: str, settle: int) -> None:
        """Remember that a bus was seen, when this was the last settlement."""

    async def buses_in_doubt(self) -> list[str]:
        """Those that were not seen since they last accepted something."""

    async def owe_again(self, bus: str, *, now: datetime) -> int:
        """Owe once more what a bus accepted since it was last known to exist, for it was dropped; how many."""

    async def books(self) -> Books: ...

    async def oldest_owed(self) -> datetime | None:
        """When the oldest owed entry was recorded."""

    async def audit(self) -> Books:
        """The books counted anew from the rows. Raises LedgerError where they differ from those kept."""

    async def find(self, execution_id: str) -> Feed | None:
        """Where an execution was recorded."""

    async def dead_letters(self) -> list[DeadLetter]: ...

    async def dead_letter(self, execution_id: str) -> DeadLetter | None: ...

    async def retry_dead(self, execution_ids: Collection[str] | None, *, now: datetime) -> int:
        """Make dead letters owed again, or all of them; how many."""

    async def purge_dead(self, execution_ids: Collection[str] | None) -> int:
        """Drop dead letters, or all of them, keeping their ids; how many."""

    async def replayable(self, window: Window) -> Replayable: ...

    async def replay(self, window: Window, *, now: datetime) -> int:
        """Owe what was sent of a window, and is held, to the bus again, marked as a replay; how many."""

    async def replays_owed(self) -> int: ...

    async def latest(self, limit: int, *, dead: bool = False) -> list[Held]:
        """What was recorded last, or what died last; newest first."""

    async def held(self, execution_id: str) -> Held | None: ...

    async def traffic(self, *, now: datetime) -> Traffic: ...

    async def sweep(self, *, now: datetime, remember: timedelta, keep_payload: timedelta) -> bool:
        """Drop a small number of details and ids that are old enough; whether there may be more."""

    async def switch(self, *, enabled: bool, skip: bool, now: datetime) -> bool | None:
        """Remember the switch, and return what it was before. With `skip`, off → on begins every feed at `now`."""

    async def switched(self) -> bool | None:
        """How the switch stood last."""

    async def feeds(self) -> list[FeedStatus]: ...

    async def note(self, pulse: Pulse, readings: Mapping[Feed, Reading]) -> None:
        """Leave word of how the daemon does."""

    async def pulse(self) -> Pulse | None: ...

    async def ask(self, *, now: datetime) -> None:
        """Ask the daemon to leave word."""

    async def asked_at(self) -> datetime | None:
        """When somebody asked last."""
