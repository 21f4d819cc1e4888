"""The components of several processes, brought together: each problem with the processes that have it."""

import socket
from dataclasses import replace
from datetime import timedelta

from forwarder.cli._components import reports_of
from forwarder.fleet_health import ComponentReport, component_reports, saved_components
from forwarder.health import ComponentStatus
from forwarder.ledger import DaemonStatus, Fleet, FleetMember
from forwarder.model import State
from tests.virtual_clock import NOON

LATER = NOON + timedelta(seconds=1)

HEALTHY = ComponentStatus(State.HEALTHY, NOON)
DEGRADED = ComponentStatus(State.DEGRADED, NOON, "it is slow")
FAILED = ComponentStatus(State.FAILED, NOON, "it is missing", "create it")
FAILED_LATER = ComponentStatus(State.FAILED, LATER, "it is missing", "create it")


def test_problem_is_reported_with_its_processes_and_first_time() -> None:
    reports = component_reports({
        "a/1": {"source": HEALTHY, "bus": FAILED_LATER},
        "b/2": {"source": HEALTHY, "bus": FAILED},
        "c/3": {"source": HEALTHY, "bus": HEALTHY},
    })  # fmt: skip
    assert reports == [
        ComponentReport("source", HEALTHY, ("a/1", "b/2", "c/3")),
        ComponentReport("bus", FAILED, ("a/1", "b/2")),
    ]
    assert reports[1].place == " (a/1, b/2)"


def test_worst_problem_of_a_component_is_first() -> None:
    assert component_reports({"a/1": {"bus": DEGRADED}, "b/2": {"bus": FAILED}}) == [
        ComponentReport("bus", FAILED, ("b/2",)),
        ComponentReport("bus", DEGRADED, ("a/1",)),
    ]


def test_only_process_has_no_name() -> None:
    (report,) = component_reports({"": {"bus": FAILED}})
    assert (report, report.place) == (ComponentReport("bus", FAILED), "")


def test_process_here_that_has_not_joined_is_reported() -> None:
    """Its failure needs attention. A process that has just joined has saved no status, and may be this one."""
    saved = DaemonStatus(NOON, 1, {"bus": {"state": "HEALTHY", "since": "2026-01-01T00:00:00Z"}})
    member = FleetMember("1a", socket.gethostname(), NOON, status=saved)
    response = {"pid": 2, "components": {"bus": "FAILED", "source": "MELTED"}}
    (report,) = reports_of(saved, Fleet((member,), ""), response)
    assert (report.name, report.status.state) == ("bus", State.FAILED)
    assert report.members == (f"{socket.gethostname()}/not joined",)
    for members in ((member, replace(member, id="2b", status=None)), (replace(member, status=replace(saved, pid=2)),)):
        (report,) = reports_of(saved, Fleet(members, ""), response)
        assert report.status.state is State.HEALTHY


def test_saved_components_of_a_newer_version_are_ignored() -> None:
    newer = DaemonStatus(NOON, 1, {"bus": {"state": "MELTED", "since": "2026-01-01T00:00:00Z"}})
    assert saved_components(newer) == saved_components(None) == {}
