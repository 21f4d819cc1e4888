"""The table of the processes on a shared ledger, and the components of all of them."""

import re
from dataclasses import replace
from datetime import timedelta

from forwarder.health import ComponentStatus, NextAttempt
from forwarder.ledger import ONE_PROCESS, DaemonStatus, Fleet, FleetMember
from forwarder.model import State
from forwarder.web.rendering import TemplateRenderer
from forwarder.web.status_snapshot import StatusSnapshot
from tests.factories import some_settings
from tests.virtual_clock import NOON

MEMBERS = (
    FleetMember("a1", "host-b", NOON - timedelta(seconds=7), 3, 1234.4, 56.5),
    FleetMember("c3", "host-<a>", NOON - timedelta(minutes=5), 0, 0.0, 1.0),
)


def rendered(fleet: Fleet) -> str:
    snapshot = replace(StatusSnapshot.empty(some_settings(), NOON), fleet=fleet)
    return TemplateRenderer().render("status/processes.html", snapshot=snapshot)


def rows(fleet: Fleet) -> list[list[str]]:
    body = rendered(fleet).partition("<tbody>")[2].partition("</tbody>")[0]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in body.split("</tr>")[:-1]]
    return [[re.sub(r"<[^>]*>", "", cell) for cell in row] for row in cells]


def test_processes_are_ordered_by_host() -> None:
    assert rows(Fleet(MEMBERS, "a1")) == [
        ["host-&lt;a&gt;", "c3", "5 min ago", "0", "0", "1"],
        ["host-b", "a1 this one", "just now", "3", "1\N{THIN SPACE}234", "56"],
    ]


def test_processes_that_are_switched_off_are_explained() -> None:
    text = rendered(Fleet((), "", enabled=False))
    assert "switched off for all processes" in text
    assert "No process forwards." in text
    assert "switched off" not in rendered(Fleet(MEMBERS, "a1"))


def test_processes_that_watch_different_feeds_are_explained() -> None:
    text = rendered(Fleet((replace(MEMBERS[0], feed_group="one"), replace(MEMBERS[1], feed_group="other")), "a1"))
    assert "The processes watch different feeds." in text
    assert "host-b/a1; host-&lt;a&gt;/c3." in text
    assert "different" not in rendered(Fleet(MEMBERS, "a1"))


def test_ledger_of_one_process_has_no_table() -> None:
    assert rendered(ONE_PROCESS).strip() == ""


def sick_fleet(own_id: str) -> Fleet:
    """Return a fleet in which the bus of the member `b2` has failed."""
    bus = {"state": "FAILED", "since": "2026-01-01T00:00:00Z", "reason": "no bus", "hint": "create it"}
    sick = FleetMember("b2", "host-c", NOON, status=DaemonStatus(NOON, 1, {"bus": bus}))
    return Fleet((*MEMBERS, sick), own_id)


def components(snapshot: StatusSnapshot) -> str:
    return TemplateRenderer().render("status/components.html", snapshot=snapshot, labels={})


def test_problem_of_another_process_is_displayed_with_its_name() -> None:
    """The button that ends a backoff is for this process only."""
    healthy = {name: ComponentStatus(State.HEALTHY, NOON) for name in ("source", "bus")}
    snapshot = replace(
        StatusSnapshot.empty(some_settings(), NOON),
        components=healthy,
        fleet=sick_fleet("a1"),
        next_attempts={"bus": NextAttempt(None)},
    )
    text = components(snapshot)
    assert "on host-c/b2" in text
    assert "No bus" in text
    assert "try now" not in text
    assert (snapshot.state, snapshot.headline) == (State.FAILED, "The event bus needs attention")
    assert components(replace(snapshot, fleet=Fleet(MEMBERS, "a1"))).count("HEALTHY") == 2


def test_problem_of_this_process_can_be_tried_again() -> None:
    failed = {"bus": ComponentStatus(State.FAILED, NOON, "it is slow")}
    snapshot = replace(
        StatusSnapshot.empty(some_settings(), NOON),
        components=failed,
        fleet=sick_fleet("a1"),
        next_attempts={"bus": NextAttempt(None)},
    )
    own, other = components(snapshot).split('<li class="card">')[1:]
    assert ("on host-b/a1" in own, "try now" in own) == (True, True)
    assert ("on host-c/b2" in other, "try now" in other) == (True, False)


def test_process_that_has_left_names_its_own_problems_too() -> None:
    failed = {"bus": ComponentStatus(State.FAILED, NOON, "it is slow")}
    snapshot = replace(StatusSnapshot.empty(some_settings(), NOON), components=failed, fleet=sick_fleet(""))
    assert "on this process" in components(snapshot)


def test_ledger_of_one_process_names_no_place() -> None:
    failed = {"bus": ComponentStatus(State.FAILED, NOON, "x" * 200)}
    snapshot = replace(StatusSnapshot.empty(some_settings(), NOON), components=failed)
    assert '<p class="small muted">on ' not in components(snapshot)
    assert 'id="reason-bus"' in components(snapshot)
