"""The nouns. Frozen values without I/O; every instant is an aware UTC datetime."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Annotated

import msgspec

MAX_ID_BYTES = 1024
"""Ids longer than this, as JSON, are refused: no documented one comes near, and an event must always fit its limits."""


MAX_UNENCODED_ID_CHARACTERS = MAX_ID_BYTES // 6
"""Characters. No character takes more than six bytes as JSON, so ids up to this need no encoding to be told."""

EARLIEST_YEAR = 1971
"""The epoch and everything before it is what some systems write for no time at all."""


def is_id(text: object) -> bool:
    if not isinstance(text, str) or not text:
        return False
    return len(text) <= MAX_UNENCODED_ID_CHARACTERS or len(msgspec.json.encode(text)) - 2 <= MAX_ID_BYTES


@dataclass(frozen=True, slots=True, order=True)
class Feed:
    """What is polled and checkpointed: the executions of one workflow, of one user or of all."""

    workflow_id: str
    user_id: str | None = None

    def __str__(self) -> str:
        return f"{self.workflow_id} (user {self.user_id})" if self.user_id else self.workflow_id


class Execution(
    msgspec.Struct,
    frozen=True,
    gc=False,  # it holds nothing that could lead back to it, and a page of them would set off the collector
    rename={
        "id": "executionId",
        "started_at": "startedAt",
        "stopped_at": "stoppedAt",
        "completed_at": "completedAt",
        "unreadable_stop": "forwarder:unreadableStop",  # set by our decoder only
    },
):
    """One record of the logs API, in any of its three documented variants.

    `error` and `results` stay undecoded JSON: most executions succeeded, and nobody will look into them. The decoder
    itself passes short ids only; `is_id` has the last word on others.

    `unreadable_stop` says that the record names a stop in a form that nobody reads: it has stopped, at an unknown time.
    """

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_UNENCODED_ID_CHARACTERS)]
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    completed_at: datetime | None = None
    status: str | None = None
    finished: bool | None = None
    message: str | None = None
    error: msgspec.Raw = msgspec.Raw(b"")
    results: msgspec.Raw = msgspec.Raw(b"")
    unreadable_stop: bool = False

    @property
    def start(self) -> datetime | None:
        return _utc(self.started_at)

    @property
    def stop(self) -> datetime | None:
        return _utc(self.stopped_at or self.completed_at)

    @property
    def has_stopped(self) -> bool:
        return self.unreadable_stop or self.stop is not None

    def is_older_than(self, horizon: datetime) -> bool:
        """Old only when its start and its stop are; one without either is never old."""
        start, stop = self.start, self.stop
        if start is None or stop is None:
            latest = start or stop
            return latest is not None and latest < horizon
        return start < horizon and stop < horizon


class Classification(Enum):
    RUNNING = "running"
    FAILED = "failed"
    SUCCEEDED = "succeeded"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a feed was read.

    `local_floor` is on our own clock. The next response translates it to the API's clock, into `floor`.
    """

    watermark: datetime | None = None
    floor: datetime | None = None
    local_floor: datetime | None = None
    full_scan_at: datetime | None = None
    open_executions: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """A failed execution, pending or sent: `detail` is the event's JSON, `time` when the execution stopped."""

    execution_id: str
    feed: Feed
    time: datetime
    detail: bytes


Token = Hashable
"""An opaque name of a claimed entry. It is valid in the process that claimed it, until the ledger is closed."""


@dataclass(frozen=True, slots=True)
class ClaimedEntry:
    """An entry that delivery has claimed from the ledger; `token` names it there.

    `attempts` were made before; the `unclassified_attempts` among them count towards giving up.
    A `replay` was sent before, and is to be sent again on purpose.
    """

    token: Token
    entry: Entry
    attempts: int = 0
    unclassified_attempts: int = 0
    replay: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    event_id: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Refused for now: it was not accepted, and may be later.

    `unclassified_attempt` is for a code that nobody has documented: only so many of those, and the entry is given up.
    """

    code: str
    reason: str = ""
    unclassified_attempt: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """Refused for good, whatever is tried."""

    code: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer that can be understood: the bus may or may not have it."""

    reason: str


Outcome = Accepted | Retry | Rejected | Unknown


class State(StrEnum):
    """Component state. PAUSED is switched off, DEGRADED works with a loss of comfort, FAILED needs a person or time."""

    STARTING = "STARTING"
    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    FAILED = "FAILED"
    PAUSED = "PAUSED"


def _utc(time: datetime | None) -> datetime | None:
    """Return the time in UTC, or None for a placeholder. A time without an offset is taken as UTC."""
    if time is None or time.year < EARLIEST_YEAR:
        return None
    if time.tzinfo is UTC:
        return time
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:  # an offset that leads out of the calendar: no time that could be compared
        return None
