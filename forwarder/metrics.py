"""What the parts count, in their own words, and Prometheus's names for it.

Labels come from small fixed sets, so that neither an id nor whatever the other side answers can grow the number of
series. Counting goes by page and by request where it can: it must cost nothing beside the work that it counts.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from platform import python_version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from forwarder import __version__

# A second series for every counter, of which no question here is answered.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the one function the library left without

OTHER = "other"
NO_ANSWER = "none"

_STATUSES = frozenset(int(status) for status in HTTPStatus)

_POLL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_PUT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LAG_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 21_600, 86_400)
"""Seconds."""


class Metrics:
    """One set of them, with a registry of its own. `codes` are those of the bus that are worth a series each."""

    def __init__(self, codes: Collection[str] = ()) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=True)
        self._codes = frozenset(codes)

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"forwarder_{name}", meaning, labels, registry=registry)

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"forwarder_{name}", meaning, labels, registry=registry)

        def seconds(name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"forwarder_{name}_seconds", meaning, buckets=buckets, registry=registry)

        self._listed = counter("executions_listed", "executions on the pages that were read")
        self._classified = counter(
            "executions_classified", "records on the pages that were read, by outcome", "outcome"
        )
        self._found = counter("failures_found", "failed executions recorded for the first time")
        self._duplicates = counter("duplicates", "failed executions listed again that were recorded before")
        self._sent = counter("events_sent", "events the bus accepted")
        self._retried = counter("events_retried", "attempts after which an event is still owed, by error code", "code")
        self._dead = counter("events_dead", "events that became dead letters, by error code", "code")
        self._unknown = counter("events_unknown", "attempts of which it is not known whether the bus accepted them")
        self._owed = gauge("owed", "events owed to the bus")
        self._oldest_owed = gauge("oldest_owed_seconds", "age of the oldest owed event, from when it was recorded")
        self._poll = seconds("poll", "time of a complete reading of a feed", _POLL_BUCKETS)
        self._put = seconds("put", "time of a request to the bus", _PUT_BUCKETS)
        self._lag = seconds("delivery_lag", "time from an execution's stop to its event's acceptance", _LAG_BUCKETS)
        self._responses = counter("source_responses", "answers of the logs API, by HTTP status", "code")
        self._rate_limited = counter("rate_limited_seconds", "time for which the logs API told us to wait")
        self._request_problems = counter(
            "request_problems",
            "connections and requests to the page or the health endpoints that failed, by kind",
            "kind",
        )
        self._success = gauge("last_success_timestamp_seconds", "when a part last did its work, in Unix time", "part")
        self._enabled = gauge("enabled", "1 while switched on")
        self._settings_valid = gauge("settings_valid", "1 while the settings file is the one in force")
        build = gauge("build_info", "1; what is running", "version", "python")
        build.labels(__version__, python_version()).set(1)

    # Of the source.

    def answered(self, status: int | None) -> None:
        """A request to the logs API ended, with this status or with no answer."""
        known = NO_ANSWER if status is None else OTHER
        self._responses.labels(str(status) if status in _STATUSES else known).inc()

    def told_to_wait(self, seconds: float) -> None:
        self._rate_limited.inc(seconds)

    def page_recorded(self, *, listed: int, failed: int, new: int) -> None:
        """`failed` of the `listed` executions are to be forwarded, and `new` of these were not recorded before."""
        self._listed.inc(listed)
        self._found.inc(new)
        self._duplicates.inc(failed - new)

    def classified(self, outcomes: Mapping[str, int]) -> None:
        """Records by outcome: failed, succeeded, running, unknown or refused."""
        for outcome, records in outcomes.items():
            self._classified.labels(outcome).inc(records)

    def feed_read(self, seconds: float) -> None:
        self._poll.observe(seconds)

    # Of the bus.

    def put(self, seconds: float) -> None:
        """A request to the bus ended, however it did."""
        self._put.observe(seconds)

    def sent(self, entries: int, lags: Iterable[float]) -> None:
        """Events were accepted; `lags` are the seconds since their executions stopped, but for replays."""
        self._sent.inc(entries)
        for lag in lags:
            self._lag.observe(max(0.0, lag))

    def retried(self, code: str, entries: int = 1) -> None:
        self._retried.labels(self._known(code)).inc(entries)

    def died(self, code: str) -> None:
        self._dead.labels(self._known(code)).inc()

    def became_unknown(self, entries: int) -> None:
        self._unknown.inc(entries)

    # Of the whole.

    def owes(self, entries: int, oldest_seconds: float) -> None:
        """As the ledger tells it. `oldest_seconds` is 0 where nothing is owed."""
        self._owed.set(entries)
        self._oldest_owed.set(max(0.0, oldest_seconds))

    def succeeded(self, part: str, at: datetime) -> None:
        self._success.labels(part).set(at.timestamp())

    def request_problem(self, kind: str) -> None:
        """Count a connection or a request of a client that failed. `kind` is from a fixed set."""
        self._request_problems.labels(kind).inc()

    def settings(self, *, enabled: bool, valid: bool) -> None:
        self._enabled.set(enabled)
        self._settings_valid.set(valid)

    def text(self) -> bytes:
        """All of them, in Prometheus's text format."""
        return generate_latest(self.registry)

    def _known(self, code: str) -> str:
        return code if code in self._codes else OTHER
