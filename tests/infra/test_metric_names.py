"""The metrics that alarms and dashboard are checked against are those that `/metrics` has."""

from prometheus_client.parser import text_string_to_metric_families

from forwarder.metrics import Metrics
from tests.infra.metric_names import METRIC_LABELS
from tests.virtual_clock import NOON


def test_the_list_is_what_the_door_tells() -> None:
    metrics = Metrics()
    metrics.count_response(200)
    metrics.count_retried("ThrottlingException")
    metrics.count_dead_lettered("MalformedDetail")
    metrics.set_last_success("bus", NOON)
    exposed: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            if not sample.name.endswith(("_count", "_sum")):
                exposed[sample.name] = set(sample.labels)
    assert exposed == METRIC_LABELS
