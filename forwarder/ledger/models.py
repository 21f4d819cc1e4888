"""What goes into a ledger and comes out of it, whatever keeps it. Frozen values without I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from forwarder.model import Checkpoint, Entry, Feed, Token


@dataclass(frozen=True, slots=True)
class Sent:
    token: Token
    event_id: str


MAX_POSTPONEMENT = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Postponed:
    """Still pending, not before `due_at`, which is at most MAX_POSTPONEMENT from now.

    An unclassified attempt counts towards giving up.
    """

    token: Token
    code: str
    due_at: datetime
    unclassified_attempt: bool = False


UNDECODABLE = "Undecodable"
"""The code of an entry of whose detail no event can be made any more."""


@dataclass(frozen=True, slots=True)
class Dead:
    token: Token
    code: str
    reason: str


Settlement = Sent | Postponed | Dead


@dataclass(frozen=True, slots=True)
class Counters:
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
    at: datetime
    code: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`attempt_count` counts all its attempts, and `attempts` are the first and the last of them, oldest first.

    An attempt is one whose outcome the bus told of this entry, or nobody told. A request that was refused as a whole,
    or never arrived, is no attempt of an entry.
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
        """Attempts between the first and the last ones, of which neither code nor time is kept."""
        return self.attempt_count - len(self.attempts)


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry whose payload is stored. `result` is the event's id where it was sent, and the code where it is dead."""

    entry: Entry
    state: Literal["pending", "sent", "dead"]
    recorded_at: datetime
    settled_at: datetime | None
    attempts: int = 0
    result: str = ""
    reason: str = ""
    replay: bool = False


@dataclass(frozen=True, slots=True)
class MinuteCounts:
    """How many executions were recorded, and events sent, in the minute that begins at `at`."""

    at: datetime
    recorded: int
    sent: int


@dataclass(frozen=True, slots=True)
class Lag:
    """From the stop of an execution to the acceptance of its event: half came sooner than `p50`, 95 of 100 than `p95`.

    Within 5 %. Replays do not count.
    """

    p50: timedelta
    p95: timedelta


@dataclass(frozen=True, slots=True)
class Traffic:
    """The minutes of the last day in which there was something, oldest first, and the lag of the last hour."""

    minutes: Sequence[MinuteCounts]
    lag: Lag | None


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Executions that stopped from `start` to before `end`, of one workflow or of all."""

    start: datetime
    end: datetime
    workflow_id: str | None = None


@dataclass(frozen=True, slots=True)
class ReplayCounts:
    """What was sent of a window: `available` can be sent again, `expired` cannot, by workflow."""

    available: int
    expired: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PollResult:
    """How the last poll of a feed ended; `error` is empty where it was complete."""

    at: datetime
    error: str = ""


@dataclass(frozen=True, slots=True)
class FeedStatus:
    feed: Feed
    checkpoint: Checkpoint
    last_poll: PollResult | None


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """What a running daemon leaves for others to read: who it is, and the state of its components."""

    at: datetime
    pid: int
    components: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
