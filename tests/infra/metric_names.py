"""The metrics of `/metrics` and their labels, and the metrics and labels in a query of the dashboard or an alarm."""

import re

METRIC_LABELS = {
    "forwarder_executions_listed_total": set(),
    "forwarder_executions_recorded_total": set(),
    "forwarder_executions_deduplicated_total": set(),
    "forwarder_events_sent_total": set(),
    "forwarder_events_retried_total": {"code"},
    "forwarder_events_dead_lettered_total": {"code"},
    "forwarder_events_unknown_total": set(),
    "forwarder_events_pending": set(),
    "forwarder_oldest_pending_event_age_seconds": set(),
    "forwarder_poll_duration_seconds_bucket": {"le"},
    "forwarder_put_events_duration_seconds_bucket": {"le"},
    "forwarder_detection_delay_seconds_bucket": {"le"},
    "forwarder_request_budget_used_ratio": set(),
    "forwarder_payloads_total": {"result"},
    "forwarder_fleet_members": set(),
    "forwarder_feeds": {"process"},
    "forwarder_ledger_consumed_units_total": {"kind"},
    "forwarder_delivery_lag_seconds_bucket": {"le"},
    "forwarder_source_unread_seconds": set(),
    "forwarder_source_responses_total": {"code"},
    "forwarder_rate_limited_seconds_total": set(),
    "forwarder_last_success_timestamp_seconds": {"component"},
    "forwarder_enabled": set(),
    "forwarder_settings_valid": set(),
    "forwarder_build_info": {"version", "python"},
}
"""The labels of each metric, without those that Prometheus adds."""

TARGET_LABELS = {"instance", "job"}


def metrics_in(query: str) -> set[str]:
    return set(re.findall(r"\bforwarder_\w+", query))


def labels_in(query: str) -> dict[str, set[str]]:
    """Return the labels that select each metric of a query."""
    found: dict[str, set[str]] = {}
    for name, selector in re.findall(r"\b(forwarder_\w+)(?:\{([^}]*)\})?", query):
        found.setdefault(name, set()).update(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
    return found
