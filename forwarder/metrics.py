"""The Prometheus metrics.

Labels come from small fixed sets, so that no id and no response can increase the number of series. Counters are
incremented per page and per request where possible, so that counting is cheap.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from platform import python_version
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from forwarder import __version__

# The "created" metrics would double the series of each counter, and nothing uses them.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types for this function

OTHER = "other"
NO_RESPONSE = "none"

_STATUSES = frozenset(int(status) for status in HTTPStatus)

_POLL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_PUT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LAG_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 21_600, 86_400)
_DETECTION_BUCKETS = (1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 21_600, 86_400)
"""The upper bounds of the buckets of each histogram, in seconds."""


class Metrics:
    """The metrics of one process, in their own registry. Each error code in `codes` has its own series."""

    def __init__(self, codes: Collection[str] = ()) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=True)
        self._codes = frozenset(codes)

        def counter(name: str, description: str, *labels: str) -> Counter:
            return Counter(f"forwarder_{name}", description, labels, registry=registry)

        def gauge(name: str, description: str, *labels: str) -> Gauge:
            return Gauge(f"forwarder_{name}", description, labels, registry=registry)

        def seconds(name: str, description: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"forwarder_{name}_seconds", description, buckets=buckets, registry=registry)

        self._listed = counter("executions_listed", "Executions on the pages that were read.")
        self._classified = counter(
            "executions_classified", "Records on the pages that were read, by outcome.", "outcome"
        )
        self._recorded = counter("executions_recorded", "Failed executions recorded for the first time.")
        self._deduplicated = counter(
            "executions_deduplicated", "Failed executions listed again that had been recorded before."
        )
        self._sent = counter("events_sent", "Events that the bus accepted.")
        self._retried = counter(
            "events_retried", "Attempts after which an event is still pending, by error code.", "code"
        )
        self._dead_lettered = counter("events_dead_lettered", "Events that became dead letters, by error code.", "code")
        self._unknown = counter(
            "events_unknown", "Attempts for which it is unknown whether the bus accepted the event."
        )
        self._pending = gauge("events_pending", "Events waiting to be sent, of all processes on the ledger.")
        self._oldest_pending = gauge(
            "oldest_pending_event_age_seconds",
            "Time since the oldest pending event was recorded, without those that other processes send.",
        )
        self._poll = seconds("poll_duration", "Duration of a complete poll of a feed.", _POLL_BUCKETS)
        self._put_events = seconds("put_events_duration", "Duration of a PutEvents request.", _PUT_BUCKETS)
        self._lag = seconds("delivery_lag", "Time from an execution's stop to its event's acceptance.", _LAG_BUCKETS)
        self._detection = seconds(
            "detection_delay",
            "Time from an execution's stop to the recording of its failure, on the clock of the logs API.",
            _DETECTION_BUCKETS,
        )
        self._budget = gauge(
            "request_budget_used_ratio", "Requests to the logs API in the last minute, as a share of the limit."
        )
        self._payloads = counter(
            "payloads", "Events that are too large, by the result: payload stored, failed, or skipped.", "result"
        )
        self._unread = gauge(
            "source_unread_seconds", "Time since the last complete poll of the feed that was read longest ago."
        )
        self._responses = counter("source_responses", "Responses of the logs API, by HTTP status.", "code")
        self._rate_limited = counter("rate_limited_seconds", "Time for which the logs API required a pause.")
        self._web_request_errors = counter(
            "web_request_errors",
            "Connections and requests to the web UI or the health endpoints that failed, by kind.",
            "kind",
        )
        self._fleet_members = gauge("fleet_members", "Processes that forward from this ledger.")
        self._feeds = gauge("feeds", "Watched feeds, by the process that polls them: own or other.", "process")
        self._ledger_units = counter(
            "ledger_consumed_units", "Capacity units of DynamoDB that this process has consumed.", "kind"
        )
        self._counted_units = dict.fromkeys(("read", "write"), 0.0)
        self._last_success = gauge(
            "last_success_timestamp_seconds", "Unix time of the last success of a component.", "component"
        )
        self._enabled = gauge("enabled", "1 while forwarding is enabled.")
        self._settings_valid = gauge("settings_valid", "1 while the settings file is valid and in force.")
        build = gauge("build_info", "Always 1; the labels are the versions in use.", "version", "python")
        build.labels(__version__, python_version()).set(1)
        self._create_series()

    def _create_series(self) -> None:
        """Create the series of alarms and of rare events with 0. `increase` does not see a series' first value."""
        for code in (*self._codes, OTHER):
            self._retried.labels(code)
            self._dead_lettered.labels(code)
        for result in ("stored", "failed", "skipped"):
            self._payloads.labels(result)
        for status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            self._responses.labels(str(status.value))
        for kind in self._counted_units:
            self._ledger_units.labels(kind)

    # The source.

    def count_response(self, status: int | None) -> None:
        """Count a request to the logs API by its status. The status is None if there was no response."""
        known = NO_RESPONSE if status is None else OTHER
        self._responses.labels(str(status) if status in _STATUSES else known).inc()

    def count_rate_limited(self, seconds: float) -> None:
        self._rate_limited.inc(seconds)

    def count_page(self, *, listed: int, failed: int, new: int) -> None:
        """Count a recorded page: `failed` of the `listed` executions, and `new` of these were not recorded before."""
        self._listed.inc(listed)
        self._recorded.inc(new)
        self._deduplicated.inc(failed - new)

    def count_classified(self, outcomes: Mapping[str, int]) -> None:
        """Count records by outcome: failed, succeeded, running, unknown or rejected."""
        for outcome, records in outcomes.items():
            self._classified.labels(outcome).inc(records)

    def observe_poll(self, seconds: float) -> None:
        self._poll.observe(seconds)

    def observe_detections(self, delays: Iterable[float]) -> None:
        """Record the seconds from the stop of each new failure to its recording."""
        for delay in delays:
            self._detection.observe(max(0.0, delay))

    def count_payload(self, result: Literal["stored", "failed", "skipped"]) -> None:
        """Count an event that is too large. Its payload is skipped for a while after a failure."""
        self._payloads.labels(result).inc()

    def set_request_budget(self, used_share: Callable[[], float]) -> None:
        """Set the function that returns the used share of the request limit, from 0 to 1."""
        self._budget.set_function(used_share)

    def set_unread(self, seconds: float) -> None:
        self._unread.set(seconds)

    # The bus.

    def observe_put_events(self, seconds: float) -> None:
        """Record the duration of a PutEvents request with any result."""
        self._put_events.observe(seconds)

    def count_sent(self, entries: int, lags: Iterable[float]) -> None:
        """Count accepted events. `lags` are the seconds since their executions stopped; replays have none."""
        self._sent.inc(entries)
        for lag in lags:
            self._lag.observe(max(0.0, lag))

    def count_retried(self, code: str, entries: int = 1) -> None:
        self._retried.labels(self._known_code(code)).inc(entries)

    def count_dead_lettered(self, code: str) -> None:
        self._dead_lettered.labels(self._known_code(code)).inc()

    def count_unknown(self, entries: int) -> None:
        self._unknown.inc(entries)

    # The daemon.

    def set_pending(self, entries: int, oldest_seconds: float) -> None:
        """Set the number of pending entries of all processes, and the age of the oldest own one in seconds, or 0."""
        self._pending.set(entries)
        self._oldest_pending.set(max(0.0, oldest_seconds))

    def set_feeds(self, *, own: int, other: int) -> None:
        """Set the number of feeds that this process polls, and of those that other processes poll."""
        self._feeds.labels("own").set(own)
        self._feeds.labels("other").set(other)

    def set_fleet(self, members: int) -> None:
        self._fleet_members.set(members)

    def count_ledger_units(self, *, read: float, write: float) -> None:
        """Set the capacity units that this process has consumed since its start. They never fall."""
        for kind, units in (("read", read), ("write", write)):
            self._ledger_units.labels(kind).inc(max(0.0, units - self._counted_units[kind]))
            self._counted_units[kind] = max(units, self._counted_units[kind])

    def set_last_success(self, component: str, at: datetime) -> None:
        self._last_success.labels(component).set(at.timestamp())

    def count_web_request_error(self, kind: str) -> None:
        """Count a failed connection or request of a client. `kind` is from a fixed set."""
        self._web_request_errors.labels(kind).inc()

    def set_settings(self, *, enabled: bool, valid: bool) -> None:
        self._enabled.set(enabled)
        self._settings_valid.set(valid)

    @property
    def recorded(self) -> int:
        """Return the number of failed executions that this process has recorded."""
        return int(self.registry.get_sample_value("forwarder_executions_recorded_total") or 0)

    @property
    def sent(self) -> int:
        """Return the number of events of this process that the bus has accepted."""
        return int(self.registry.get_sample_value("forwarder_events_sent_total") or 0)

    def render(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self.registry)

    def _known_code(self, code: str) -> str:
        return code if code in self._codes else OTHER
