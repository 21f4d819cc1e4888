"""The domain model: frozen values without I/O. Each time is an aware datetime in UTC."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Annotated

import msgspec

MAX_ID_BYTES = 1024
"""The length of the longest valid id, as JSON without quotes. The limit keeps each event within its size limit."""

MAX_UNENCODED_ID_CHARACTERS = MAX_ID_BYTES // 6
"""An id of at most this length is valid in any case, because a character takes at most six bytes in JSON."""

EARLIEST_YEAR = 1971
"""The first year of a valid time. Some systems write the Unix epoch, or an earlier time, for a missing value."""


def is_id(text: object) -> bool:
    """Return whether a value is a valid id: a string that is not empty and not too long."""
    if not isinstance(text, str) or not text:
        return False
    return len(text) <= MAX_UNENCODED_ID_CHARACTERS or len(msgspec.json.encode(text)) - 2 <= MAX_ID_BYTES


@dataclass(frozen=True, slots=True, order=True)
class Feed:
    """A unit of polling with its own checkpoint: the executions of one workflow, of one user or of all users."""

    workflow_id: str
    user_id: str | None = None

    def __str__(self) -> str:
        return f"{self.workflow_id} (user {self.user_id})" if self.user_id else self.workflow_id


class Execution(
    msgspec.Struct,
    frozen=True,
    gc=False,  # an execution is never part of a reference cycle, and a page of them would trigger the collector
    rename={
        "id": "executionId",
        "started_at": "startedAt",
        "stopped_at": "stoppedAt",
        "completed_at": "completedAt",
        "unreadable_stop": "forwarder:unreadableStop",  # set by our decoder only
    },
):
    """A record of the logs API, in any of its three documented variants.

    `error` and `results` stay undecoded, because most executions succeeded and need neither. The decoder accepts only
    short ids; `is_id` decides about longer ones. `unreadable_stop` means that the record has a stop time in an unknown
    format. The execution has stopped, at an unknown time.
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
        """Return whether all times of the execution are before `horizon`. An execution without a time is never old."""
        start, stop = self.start, self.stop
        if start is None or stop is None:
            latest = start or stop
            return latest is not None and latest < horizon
        return start < horizon and stop < horizon


class Classification(Enum):
    """The state of an execution, as its record shows it."""

    RUNNING = "running"
    FAILED = "failed"
    SUCCEEDED = "succeeded"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FeedActivity:
    """The decayed counts from which the failure rate of a feed is estimated, as they were at `at`.

    `since` is the time of the first poll. `executions` and `failures` decay over hours, `burst` counts failures and
    decays over minutes; see `forwarder.intake.failure_rates`.
    """

    since: datetime
    at: datetime
    executions: float = 0.0
    failures: float = 0.0
    burst: float = 0.0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The position up to which a feed was read. It is empty before the first scan.

    `watermark` is the newest start of an execution when the last complete scan began. Executions that stopped until
    `floor` are not recorded. `local_floor` is a floor on this machine's clock; the next response converts it to
    `floor`, on the API's clock. `full_scan_at` is the time of the last full scan. `open_executions` has the start of
    each execution, by id, that had not stopped. `activity` is None before the first complete scan.
    """

    watermark: datetime | None = None
    floor: datetime | None = None
    local_floor: datetime | None = None
    full_scan_at: datetime | None = None
    open_executions: Mapping[str, datetime] = field(default_factory=dict)
    activity: FeedActivity | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A failed execution, pending or sent. `detail` is the event's JSON. `time` is the time at which it stopped."""

    execution_id: str
    feed: Feed
    time: datetime
    detail: bytes


Token = Hashable
"""An opaque name of a claimed entry. It is valid in the process that claimed it, until the ledger is closed."""


@dataclass(frozen=True, slots=True)
class ClaimedEntry:
    """An entry that delivery has claimed from the ledger. `token` identifies it there.

    `attempts` is the number of earlier attempts. After too many `unclassified_attempts`, the entry is dead-lettered.
    `send_number` is 1 for the first deliberate send, and grows with each replay. Retries and requeues keep it.
    """

    token: Token
    entry: Entry
    attempts: int = 0
    unclassified_attempts: int = 0
    send_number: int = 1

    @property
    def replay(self) -> bool:
        """Return whether the entry was sent before, and is sent again on request."""
        return self.send_number > 1


@dataclass(frozen=True, slots=True)
class Accepted:
    """An acceptance by the bus."""

    event_id: str


@dataclass(frozen=True, slots=True)
class Retry:
    """A temporary refusal. The entry was not accepted, and is sent again later.

    `unclassified_attempt` marks an undocumented error code. After too many of them, the entry is dead-lettered.
    """

    code: str
    reason: str = ""
    unclassified_attempt: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """A permanent refusal. The entry is dead-lettered."""

    code: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """An unknown outcome: there was no valid response, and the bus may or may not have accepted the entry."""

    reason: str


Outcome = Accepted | Retry | Rejected | Unknown


class State(StrEnum):
    """The state of a component.

    UNCONFIGURED waits for settings or secrets that are missing since the first start. PAUSED is switched off. DEGRADED
    works with restrictions. FAILED does not work, and needs a person or time.
    """

    UNCONFIGURED = "UNCONFIGURED"
    STARTING = "STARTING"
    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    FAILED = "FAILED"
    PAUSED = "PAUSED"


READY_STATES = frozenset({State.HEALTHY, State.DEGRADED, State.PAUSED})
"""The states that count as ready. PAUSED counts, because a person chose it, and a restart would change nothing."""

PROBLEM_STATES = frozenset({State.FAILED, State.DEGRADED, State.UNCONFIGURED})
"""The states that need a person's attention."""


def _utc(time: datetime | None) -> datetime | None:
    """Return the time in UTC, or None for a placeholder. A time without an offset is taken as UTC."""
    if time is None or time.year < EARLIEST_YEAR:
        return None
    if time.tzinfo is UTC:
        return time
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:  # the offset leads out of the calendar
        return None
