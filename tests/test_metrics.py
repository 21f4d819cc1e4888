"""The metrics have the documented names, count each event once, and have labels from fixed sets."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from forwarder.aws.responses import CODES
from forwarder.metrics import NO_RESPONSE, OTHER, Metrics
from tests.virtual_clock import NOON

METRIC_NAMES = {
    "forwarder_detection_delay_seconds",
    "forwarder_payloads_total",
    "forwarder_fleet_members",
    "forwarder_feeds",
    "forwarder_ledger_consumed_units_total",
    "forwarder_request_budget_used_ratio",
    "forwarder_executions_listed_total",
    "forwarder_executions_recorded_total",
    "forwarder_executions_deduplicated_total",
    "forwarder_events_sent_total",
    "forwarder_events_retried_total",
    "forwarder_events_dead_lettered_total",
    "forwarder_events_unknown_total",
    "forwarder_events_pending",
    "forwarder_oldest_pending_event_age_seconds",
    "forwarder_poll_duration_seconds",
    "forwarder_put_events_duration_seconds",
    "forwarder_delivery_lag_seconds",
    "forwarder_source_unread_seconds",
    "forwarder_source_responses_total",
    "forwarder_rate_limited_seconds_total",
    "forwarder_last_success_timestamp_seconds",
    "forwarder_enabled",
    "forwarder_settings_valid",
    "forwarder_build_info",
}


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Return the values, keyed by name and by the values of the labels."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def populated_metrics() -> Metrics:
    """Return metrics in which each event was counted."""
    metrics = Metrics(CODES)
    metrics.count_response(200)
    metrics.count_rate_limited(1.5)
    metrics.count_page(listed=30, failed=5, new=3)
    metrics.observe_poll(0.2)
    metrics.observe_detections([1.5, 12, -3])
    metrics.count_payload("stored")
    metrics.set_request_budget(lambda: 0.25)
    metrics.observe_put_events(0.02)
    metrics.count_sent(2, [0.3, 70])
    metrics.count_retried("ThrottlingException", 4)
    metrics.count_dead_lettered("MalformedDetail")
    metrics.count_unknown(10)
    metrics.set_pending(7, 12.5)
    metrics.set_fleet(3)
    metrics.set_feeds(own=2, other=5)
    for units in (40, 50, 45):  # the total of a process never falls
        metrics.count_ledger_units(read=units, write=0.5)
    metrics.set_last_success("bus", NOON)
    metrics.set_settings(enabled=True, valid=False)
    return metrics


def test_metric_names_are_exactly_the_documented_ones() -> None:
    values = {name for name, *_ in samples(populated_metrics())}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in values} == METRIC_NAMES


def test_metrics_count_each_event() -> None:
    values = samples(populated_metrics())
    expected = {
        ("forwarder_executions_listed_total",): 30,
        ("forwarder_executions_recorded_total",): 3,
        ("forwarder_executions_deduplicated_total",): 2,
        ("forwarder_events_sent_total",): 2,
        ("forwarder_events_retried_total", "ThrottlingException"): 4,
        ("forwarder_events_dead_lettered_total", "MalformedDetail"): 1,
        ("forwarder_events_unknown_total",): 10,
        ("forwarder_events_pending",): 7,
        ("forwarder_oldest_pending_event_age_seconds",): 12.5,
        ("forwarder_poll_duration_seconds_count",): 1,
        ("forwarder_detection_delay_seconds_sum",): 13.5,
        ("forwarder_payloads_total", "stored"): 1,
        ("forwarder_request_budget_used_ratio",): 0.25,
        ("forwarder_put_events_duration_seconds_count",): 1,
        ("forwarder_delivery_lag_seconds_sum",): pytest.approx(70.3),
        ("forwarder_source_responses_total", "200"): 1,
        ("forwarder_rate_limited_seconds_total",): 1.5,
        ("forwarder_fleet_members",): 3,
        ("forwarder_feeds", "own"): 2,
        ("forwarder_feeds", "other"): 5,
        ("forwarder_ledger_consumed_units_total", "read"): 50,
        ("forwarder_ledger_consumed_units_total", "write"): 0.5,
        ("forwarder_last_success_timestamp_seconds", "bus"): NOON.timestamp(),
        ("forwarder_enabled",): 1,
        ("forwarder_settings_valid",): 0,
    }
    assert {key: values.get(key) for key in expected} == expected


def test_series_of_alarms_exist_before_their_first_count() -> None:
    """Prometheus' `increase` does not see the first value of a series."""
    metrics = Metrics(CODES)
    values = samples(metrics)
    for name in ("forwarder_events_dead_lettered_total", "forwarder_events_retried_total"):
        assert {key: value for key, value in values.items() if key[0] == name} == {
            (name, code): 0 for code in (*CODES, OTHER)
        }
    for status in ("401", "403"):
        assert values["forwarder_source_responses_total", status] == 0


def test_undocumented_error_code_is_counted_as_other() -> None:
    metrics = Metrics(CODES)
    for number in range(300):
        metrics.count_retried(f"6daaa0cf1a3daa6c41b5-{number}")
        metrics.count_dead_lettered(f"6daaa0cf1a3daa6c41b5-{number}")
        metrics.count_response(1000 + number)
    metrics.count_response(None)
    values = samples(metrics)
    assert values["forwarder_events_retried_total", OTHER] == 300
    assert values["forwarder_events_dead_lettered_total", OTHER] == 300
    assert values["forwarder_source_responses_total", OTHER] == 300
    assert values["forwarder_source_responses_total", NO_RESPONSE] == 1
    assert b"6daaa" not in metrics.render()


def test_each_instance_has_its_own_registry() -> None:
    populated_metrics()
    assert samples(Metrics())["forwarder_executions_listed_total",] == 0
