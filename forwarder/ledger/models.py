"""The values that every ledger store accepts and returns. They are frozen and do no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from forwarder.model import Checkpoint, Entry, Feed, Token


@dataclass(frozen=True, slots=True)
class Sent:
    """A settlement: the bus accepted the entry."""

    token: Token
    event_id: str


MAX_POSTPONEMENT = timedelta(minutes=2)
"""The longest time for which a settlement may postpone an entry."""


@dataclass(frozen=True, slots=True)
class Postponed:
    """A settlement: the entry is still pending, and is due at `due_at`, at most MAX_POSTPONEMENT from now.

    `unclassified_attempt` marks an undocumented error code. After too many of them, the entry is dead-lettered.
    """

    token: Token
    code: str
    due_at: datetime
    unclassified_attempt: bool = False


UNDECODABLE = "Undecodable"
"""The code of a dead letter whose stored detail cannot be decoded into an event."""


@dataclass(frozen=True, slots=True)
class Dead:
    """A settlement: the entry is a dead letter."""

    token: Token
    code: str
    reason: str


Settlement = Sent | Postponed | Dead


@dataclass(frozen=True, slots=True)
class Counters:
    """The numbers of executions by state, since the ledger was created."""

    recorded: int = 0
    pending: int = 0
    sent: int = 0
    dead: int = 0
    purged: int = 0
    forgotten: int = 0

    @property
    def is_balanced(self) -> bool:
        return self.recorded == self.pending + self.sent + self.dead + self.purged + self.forgotten


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to send an entry, with the code of its outcome."""

    at: datetime
    code: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter. `attempt_count` counts all attempts. `attempts` has the first and the last attempts, oldest first.

    An attempt is a request with an outcome for this entry, with an unknown outcome, or one that failed inside the
    forwarder. A request that was refused as a whole, or did not arrive, is not an attempt of its entries.
    """

    entry: Entry
    code: str
    reason: str
    recorded_at: datetime
    died_at: datetime
    attempt_count: int
    attempts: Sequence[Attempt] = ()

    @property
    def omitted_attempts(self) -> int:
        """Return the number of attempts that are not in `attempts`. Their codes and times are not stored."""
        return self.attempt_count - len(self.attempts)


EntryState = Literal["pending", "sent", "dead"]


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry whose payload is stored. `result` is the event id of a sent entry, or the code of a dead letter.

    `send_number` is 1 until the entry is replayed, and grows with each replay.
    """

    entry: Entry
    state: EntryState
    recorded_at: datetime
    settled_at: datetime | None
    attempts: int = 0
    result: str = ""
    reason: str = ""
    send_number: int = 1

    @property
    def replay(self) -> bool:
        return self.send_number > 1


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """A filter of stored entries. A criterion that is None selects all.

    The time of recording is at or after `recorded_from` and before `recorded_to`.
    """

    state: EntryState | None = None
    workflow_id: str | None = None
    recorded_from: datetime | None = None
    recorded_to: datetime | None = None
    execution_id: str | None = None


@dataclass(frozen=True, slots=True)
class EntryPage:
    """A page of entries, newest first. `next` is the position of the next page, or None after the last entry.

    A page with a `next` may have fewer entries than the limit, or none: the others were too far away to read them.

    A position is an opaque text. It stays valid when entries are added, changed or deleted.
    """

    entries: Sequence[StoredEntry]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Activity:
    """The entries recorded and the events sent after a position, oldest first. `position` continues after them."""

    recorded: Sequence[StoredEntry]
    sent: Sequence[StoredEntry]
    position: str


@dataclass(frozen=True, slots=True)
class MinuteCounts:
    """The numbers of recorded executions and sent events in the minute that begins at `at`."""

    at: datetime
    recorded: int
    sent: int


@dataclass(frozen=True, slots=True)
class Lag:
    """The percentiles of the time from an execution's stop to the acceptance of its event.

    They are exact within 5 %. Replays do not count.
    """

    p50: timedelta
    p95: timedelta


@dataclass(frozen=True, slots=True)
class Traffic:
    """The minutes of the last day that have any traffic, oldest first, and the lag of the last hour."""

    minutes: Sequence[MinuteCounts]
    lag: Lag | None


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """A range of executions: those of one workflow or of all that stopped at or after `start` and before `end`."""

    start: datetime
    end: datetime
    workflow_id: str | None = None


@dataclass(frozen=True, slots=True)
class ReplayCounts:
    """The numbers of sent events in a time window.

    `available` events can be sent again. `expired` counts the others by workflow.
    """

    available: int
    expired: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PollResult:
    """The result of the last poll of a feed, and the plan for the next. `error` is empty if the poll was complete.

    `interval_seconds` is the planned interval, and `reason` the reason for it. A removed feed has neither.
    """

    at: datetime
    error: str = ""
    interval_seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """A feed that was ever added. `watched` is False after its last scan, if it is not watched any more."""

    feed: Feed
    checkpoint: Checkpoint
    last_poll: PollResult | None
    watched: bool = True

    @property
    def sort_key(self) -> tuple[bool, float]:
        """Return a key that sorts feeds: first those whose poll failed, then those polled longest ago."""
        poll = self.last_poll
        return (not (poll and poll.error), poll.at.timestamp() if poll else 0.0)


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """The status that a running daemon saves for commands: its process id and the states of its components."""

    at: datetime
    pid: int
    components: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
