"""The list of metrics for the checks of alarms and dashboard equals the metrics of `/metrics`."""

from prometheus_client.parser import text_string_to_metric_families

from forwarder.metrics import Metrics
from tests.infra.metric_names import METRIC_LABELS
from tests.virtual_clock import NOON


def test_metric_labels_equal_those_of_the_endpoint() -> None:
    metrics = Metrics()
    metrics.count_response(200)
    metrics.count_retried("ThrottlingException")
    metrics.count_dead_lettered("MalformedDetail")
    metrics.set_feeds(own=1, other=0)
    metrics.set_last_success("bus", NOON)
    exposed: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            if not sample.name.endswith(("_count", "_sum")):
                exposed[sample.name] = set(sample.labels)
    assert exposed == METRIC_LABELS
