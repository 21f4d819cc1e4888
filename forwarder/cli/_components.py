"""The components of the processes, for `forwarder status`."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from forwarder.cli._fleet import sorted_members
from forwarder.cli.output import echo
from forwarder.fleet_health import ComponentReport, component_reports, saved_components
from forwarder.health import ComponentStatus
from forwarder.ledger import DaemonStatus, Fleet
from forwarder.model import State


def reports_of(saved: DaemonStatus | None, fleet: Fleet, response: Mapping[str, Any]) -> list[ComponentReport]:
    """Return the components of the running process that saved a status, or of all processes on a shared ledger.

    `response` is that of the process on this machine. It is reported as well if it has not joined the others.
    """
    if not fleet.is_shared:
        return component_reports({"": saved_components(saved)})
    # A member with an old heartbeat counts as well, because its clock may be wrong. If it is dead, a running process
    # takes it over, and then it is no member any more.
    processes = {each.name: saved_components(each.status) for each in sorted_members(fleet)}
    return component_reports(processes | _outsider(fleet, response))


def _outsider(fleet: Fleet, response: Mapping[str, Any]) -> dict[str, dict[str, ComponentStatus]]:
    """Return the components of the process on this machine that responded, if it is no member. It saves no status."""
    host = socket.gethostname()
    pids = [each.status and each.status.pid for each in fleet.members if each.host == host]
    if not response or response["pid"] in pids or None in pids:  # a new member has saved no status yet
        return {}
    now = datetime.now(UTC)
    states = {name: state for name, state in response.get("components", {}).items() if state in list(State)}
    return {f"{host}/not joined": {name: ComponentStatus(State(state), now) for name, state in states.items()}}


def worst_components(reports: Sequence[ComponentReport]) -> dict[str, dict[str, Any]]:
    """Return the worst report of each component, as `status --json` has it, with the names of its processes."""
    worst: dict[str, dict[str, Any]] = {}
    for each in reports:
        worst.setdefault(each.name, {**asdict(each.status), "members": each.members})
    return worst


def with_newer_states(saved: DaemonStatus, response: Mapping[str, Any]) -> DaemonStatus:
    """Return the saved status with the states that the daemon's listener returned.

    If a state has changed, the saved reason and hint are dropped.
    """
    components = {name: dict(component) for name, component in saved.components.items()}
    for name, state in response.get("components", {}).items():
        if name in components and components[name]["state"] != state:
            components[name] |= {"state": state, "reason": "", "hint": ""}
    return replace(saved, components=components)


def with_own_states(fleet: Fleet, response: Mapping[str, Any]) -> Fleet:
    """Return the fleet with newer states of the process on this machine that responded, if one did."""
    members = [
        replace(each, status=with_newer_states(each.status, response))
        if each.status and (each.host, each.status.pid) == (socket.gethostname(), response.get("pid"))
        else each
        for each in fleet.members
    ]
    return replace(fleet, members=tuple(members)) if fleet.is_shared else fleet


def print_components(components: Sequence[ComponentReport]) -> None:
    """Print a line for each report. It is no table, because a reason and its hint are shown whole at any width."""
    if components:
        echo("")
    for each in components:
        status = each.status
        place = "" if status.state is State.HEALTHY else each.place
        echo(f"{each.name:<10}{status.state:<13}{status.reason}{place if status.reason else place.lstrip()}".rstrip())
        if status.hint:
            echo(f"{'':<23}hint: {status.hint}")
