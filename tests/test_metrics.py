"""What is counted, under which names, and that no label can grow without limit."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from forwarder.aws.answers import CODES
from forwarder.metrics import NO_ANSWER, OTHER, Metrics
from tests.clocks import NOON

NAMES = {
    "forwarder_executions_listed_total",
    "forwarder_failures_found_total",
    "forwarder_duplicates_total",
    "forwarder_events_sent_total",
    "forwarder_events_retried_total",
    "forwarder_events_dead_total",
    "forwarder_events_unknown_total",
    "forwarder_owed",
    "forwarder_oldest_owed_seconds",
    "forwarder_poll_seconds",
    "forwarder_put_seconds",
    "forwarder_delivery_lag_seconds",
    "forwarder_source_responses_total",
    "forwarder_rate_limited_seconds_total",
    "forwarder_last_success_timestamp_seconds",
    "forwarder_enabled",
    "forwarder_settings_valid",
    "forwarder_build_info",
}


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Values by name and the values of the labels."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def busy() -> Metrics:
    """One in which everything has happened."""
    metrics = Metrics(CODES)
    metrics.answered(200)
    metrics.told_to_wait(1.5)
    metrics.page_recorded(listed=30, failed=5, new=3)
    metrics.feed_read(0.2)
    metrics.put(0.02)
    metrics.sent(2, [0.3, 70])
    metrics.retried("ThrottlingException", 4)
    metrics.died("MalformedDetail")
    metrics.became_unknown(10)
    metrics.owes(7, 12.5)
    metrics.succeeded("bus", NOON)
    metrics.settings(enabled=True, valid=False)
    return metrics


def test_the_names_are_these_and_no_others() -> None:
    told = {name for name, *_ in samples(busy())}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in told} == NAMES


def test_what_happened_is_what_is_told() -> None:
    told = samples(busy())
    expected = {
        ("forwarder_executions_listed_total",): 30,
        ("forwarder_failures_found_total",): 3,
        ("forwarder_duplicates_total",): 2,
        ("forwarder_events_sent_total",): 2,
        ("forwarder_events_retried_total", "ThrottlingException"): 4,
        ("forwarder_events_dead_total", "MalformedDetail"): 1,
        ("forwarder_events_unknown_total",): 10,
        ("forwarder_owed",): 7,
        ("forwarder_oldest_owed_seconds",): 12.5,
        ("forwarder_poll_seconds_count",): 1,
        ("forwarder_put_seconds_count",): 1,
        ("forwarder_delivery_lag_seconds_sum",): pytest.approx(70.3),
        ("forwarder_source_responses_total", "200"): 1,
        ("forwarder_rate_limited_seconds_total",): 1.5,
        ("forwarder_last_success_timestamp_seconds", "bus"): NOON.timestamp(),
        ("forwarder_enabled",): 1,
        ("forwarder_settings_valid",): 0,
    }
    assert {key: told.get(key) for key in expected} == expected


def test_a_code_that_nobody_has_documented_is_other() -> None:
    metrics = Metrics(CODES)
    for number in range(300):
        metrics.retried(f"6daaa0cf1a3daa6c41b5-{number}")
        metrics.died(f"6daaa0cf1a3daa6c41b5-{number}")
        metrics.answered(1000 + number)
    metrics.answered(None)
    told = samples(metrics)
    assert told["forwarder_events_retried_total", OTHER] == 300
    assert told["forwarder_events_dead_total", OTHER] == 300
    assert told["forwarder_source_responses_total", OTHER] == 300
    assert told["forwarder_source_responses_total", NO_ANSWER] == 1
    assert b"6daaa" not in metrics.text()


def test_each_has_its_own_registry() -> None:
    busy()
    assert samples(Metrics())["forwarder_executions_listed_total",] == 0
