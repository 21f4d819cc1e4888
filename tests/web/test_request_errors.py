"""Problems of requests: each is counted, and logged at most once in an interval."""

from structlog.testing import capture_logs

from forwarder.metrics import Metrics
from forwarder.web.request_errors import LOG_INTERVAL_SECONDS, Problem, RequestProblems
from tests.virtual_clock import QuickClock


def test_problem_is_logged_once_in_its_interval() -> None:
    clock, metrics = QuickClock(), Metrics()
    problems = RequestProblems("listen", clock, metrics)
    with capture_logs() as log:
        for _ in range(3):
            problems.report(Problem.HEADER_TIMEOUT, "192.0.2.1")
        clock.advance(LOG_INTERVAL_SECONDS)
        problems.report(Problem.HEADER_TIMEOUT, "192.0.2.2")
    assert [(line["caller"], line["count"]) for line in log] == [("192.0.2.1", 1), ("192.0.2.2", 3)]
    assert b'forwarder_web_request_errors_total{kind="header_timeout"} 4.0' in metrics.render()


def test_problem_of_each_kind_is_logged() -> None:
    problems = RequestProblems("listen", QuickClock(), Metrics())
    with capture_logs() as log:
        problems.report(Problem.HEADER_TIMEOUT)
        problems.report(Problem.MALFORMED_REQUEST)
        problems.report_internal_error(ValueError("planted"), route="status")
        problems.report_internal_error(ValueError("planted"), route="status")
        problems.report_internal_error(KeyError("planted"), route="status")
        problems.report_internal_error(KeyError("planted"), route="settings")
    assert [line["kind"] for line in log] == ["header_timeout", "malformed_request", *["internal"] * 3]
    assert "planted" not in str(log)


def test_internal_error_is_logged_with_its_frames() -> None:
    problems = RequestProblems("listen", QuickClock(), Metrics())
    with capture_logs() as log:
        try:
            int("planted")
        except ValueError as error:
            problems.report_internal_error(error, route="status")
    (line,) = log
    assert line["exception"] == "ValueError"
    assert line["frames"][0].startswith("test_request_errors.py:")
    assert "planted" not in str(log)
