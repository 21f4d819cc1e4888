"""The counts of recorded executions and sent events in each minute, and of the events' lag, as every store keeps them.

They are only displayed, so a store may lose the counts of the last minute.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import log

from forwarder.ledger.codec import from_micros, to_micros
from forwarder.ledger.models import Lag, MinuteCounts, Traffic

RETENTION = timedelta(days=1)
LAG_WINDOW = timedelta(hours=1)

MINUTE_MICROSECONDS = 60_000_000

MIN_LAG_MICROSECONDS = 1000
"""The lag of step 0. A shorter lag is counted in step 0."""

STEP_RATIO = 1.1
"""The ratio of the lags of two successive steps, which makes percentiles exact within 5 %."""


@dataclass(slots=True)
class TrafficCounts:
    """The counts by minute since 1970, and the numbers of sent events by minute and step of their lag."""

    recorded: Counter[int] = field(default_factory=Counter)
    sent: Counter[int] = field(default_factory=Counter)
    lags: Counter[tuple[int, int]] = field(default_factory=Counter)

    def count_recorded(self, executions: int, now: datetime) -> None:
        if executions:
            self.recorded[minute_of(now)] += executions

    def count_sent(self, stops: Iterable[tuple[datetime, bool]], now: datetime) -> None:
        """Count events that were sent. For each, `stops` has the stop of its execution and whether it is a replay."""
        minute, at = minute_of(now), to_micros(now)
        for stop, is_replay in stops:
            self.sent[minute] += 1
            if not is_replay:
                self.lags[minute, _step(at - to_micros(stop))] += 1

    def until(self, minute: int) -> "TrafficCounts":
        """Return the counts of the minutes before this one."""
        return TrafficCounts(
            Counter({each: count for each, count in self.recorded.items() if each < minute}),
            Counter({each: count for each, count in self.sent.items() if each < minute}),
            Counter({each: count for each, count in self.lags.items() if each[0] < minute}),
        )

    def add(self, other: "TrafficCounts") -> None:
        self.recorded += other.recorded
        self.sent += other.sent
        self.lags += other.lags

    def subtract(self, other: "TrafficCounts") -> None:
        self.recorded -= other.recorded
        self.sent -= other.sent
        self.lags -= other.lags

    @property
    def minutes(self) -> set[int]:
        return self.recorded.keys() | self.sent.keys()

    def traffic(self, now: datetime) -> Traffic:
        """Return the counts of the last day and the lag of the last hour."""
        since, until = minute_of(now - RETENTION), minute_of(now)
        minutes = [
            MinuteCounts(from_micros(minute * MINUTE_MICROSECONDS), self.recorded[minute], self.sent[minute])
            for minute in sorted(self.minutes)
            if since < minute <= until
        ]
        since = minute_of(now - LAG_WINDOW)
        steps = Counter[int]()
        for (minute, step), count in self.lags.items():
            if since < minute <= until:
                steps[step] += count
        rows = sorted(steps.items())
        return Traffic(minutes, Lag(_percentile(rows, 50), _percentile(rows, 95)) if rows else None)


def minute_of(time: datetime) -> int:
    """Return the minute since 1970 that contains a time."""
    return to_micros(time) // MINUTE_MICROSECONDS


def _percentile(steps: Sequence[tuple[int, int]], percent: int) -> timedelta:
    """Return the lag that this percentage of the events does not exceed. `steps` are (step, count), shortest first."""
    total = sum(count for _, count in steps)
    below = 0
    for step, count in steps:
        below += count
        if 100 * below >= percent * total:
            return timedelta(microseconds=MIN_LAG_MICROSECONDS * STEP_RATIO**step)
    raise ValueError("a percentile needs at least one event")


def _step(lag_microseconds: int) -> int:
    """Return the step that is nearest to a lag, which is negative if this clock is behind the API's."""
    return round(log(max(lag_microseconds, MIN_LAG_MICROSECONDS) / MIN_LAG_MICROSECONDS, STEP_RATIO))
