"""The states of the components of all processes on a ledger, for `status` and the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from forwarder.health import ComponentStatus
from forwarder.ledger import DaemonStatus
from forwarder.model import State

STATES_BY_SEVERITY = (
    State.FAILED,
    State.UNCONFIGURED,
    State.DEGRADED,
    State.STARTING,
    State.PAUSED,
    State.HEALTHY,
)


@dataclass(frozen=True, slots=True)
class ComponentReport:
    """The status of a component, and the processes in which its state, reason and hint are the same.

    `members` has the names of the processes. It is empty if only one process can use the ledger.
    """

    name: str
    status: ComponentStatus
    members: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Return the processes in brackets, with a space before them, or an empty text."""
        return f" ({', '.join(self.members)})" if self.members else ""


def saved_components(status: DaemonStatus | None) -> dict[str, ComponentStatus]:
    """Return the components of a saved status, or nothing if no status was saved."""
    try:
        return {} if status is None else msgspec.convert(status.components, dict[str, ComponentStatus])
    except msgspec.ValidationError:  # a newer version may have states that this one does not know
        return {}


def component_reports(processes: Mapping[str, Mapping[str, ComponentStatus]]) -> list[ComponentReport]:
    """Return reports from the components of each process by its name, the worst report of each component first.

    There is one report for each different problem of a component, or one if the component is healthy in all processes.
    An empty name is that of the only process.
    """
    found: dict[str, dict[tuple[State, str, str], ComponentReport]] = {}
    for member, components in processes.items():
        for name, status in components.items():
            reports = found.setdefault(name, {})
            key = (status.state, status.reason, status.hint)
            before = reports.get(key, ComponentReport(name, status))
            since = min(before.status.since, status.since)
            members = (*before.members, member) if member else ()
            reports[key] = replace(before, status=replace(status, since=since), members=members)
    return [report for reports in found.values() for report in _problems(list(reports.values()))]


def _problems(reports: Sequence[ComponentReport]) -> list[ComponentReport]:
    problems = [each for each in reports if each.status.state is not State.HEALTHY]
    return by_severity(problems or reports)


def by_severity(reports: Sequence[ComponentReport]) -> list[ComponentReport]:
    """Return the reports, the worst first."""
    return sorted(reports, key=lambda report: STATES_BY_SEVERITY.index(report.status.state))
