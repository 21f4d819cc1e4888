"""The metrics that alarms and dashboard are checked against are those that `/metrics` has."""

from prometheus_client.parser import text_string_to_metric_families

from forwarder.metrics import Metrics
from tests.clocks import NOON
from tests.infra.series import METRICS


def test_the_list_is_what_the_door_tells() -> None:
    metrics = Metrics()
    metrics.answered(200)
    metrics.retried("ThrottlingException")
    metrics.died("MalformedDetail")
    metrics.succeeded("bus", NOON)
    told: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            if not sample.name.endswith(("_count", "_sum")):
                told[sample.name] = set(sample.labels)
    assert told == METRICS
