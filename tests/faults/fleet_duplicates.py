"""The explanation of each duplicate of a fleet: a lost reply of the bus, or the end of the member that published it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from forwarder.ledger.dynamodb.schema import Place, digest
from tests.fakes.eventbridge import DeliveredEvent
from tests.faults.crash import misreported_requests
from tests.faults.fleet_environment import FleetEnvironment
from tests.faults.fleet_process import ALIVE, CONCURRENCY, FleetProcess

LOST_REPLY: Final = "lost reply"

MAX_EVENTS_IN_FLIGHT: Final = 2 * CONCURRENCY * 10
"""The events of the requests in flight, and of those whose settlements are not written yet."""

Items = Mapping[str, Mapping[str, Any]]
"""The items of the executions, by digest."""


@dataclass
class Duplicates:
    """The duplicates by cause, and those that nothing explains."""

    causes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def explain(environment: FleetEnvironment, items: Items) -> Duplicates:
    """Explain all deliveries of each execution except the one that its settlement names."""
    duplicates = Duplicates()
    places = {place.source: place for place in environment.processes}
    misreported = misreported_requests(environment.bus)
    per_member: Counter[tuple[str, str]] = Counter()
    for execution_id, events in deliveries(environment).items():
        item = items.get(digest(execution_id))
        if item is None or item.get("ev") not in [event.event_id for event in events]:
            duplicates.problems.append(f"{execution_id} was sent, and its item does not name the event: {item}")
            continue
        for event in events:
            if event.event_id == item["ev"]:
                continue
            if event.request_index in misreported:
                duplicates.causes[LOST_REPLY] += 1
                continue
            place = places[event.entry["Source"]]
            member, cause = _end_of_publisher(place, event, item)
            if cause:
                duplicates.causes[cause] += 1
                per_member[cause, member] += 1
            else:
                duplicates.problems.append(
                    f"{execution_id} was sent by {place.name}/{member or '?'} at {event.at:%H:%M:%S.%f} as"
                    f" {event.event_id}, and again, without a reason: {item['lg']}, settled as {item['ev']}"
                )
    for (cause, member), count in per_member.items():
        if count > MAX_EVENTS_IN_FLIGHT:
            duplicates.problems.append(f"{count} events of the member {member}, {cause}, were sent again")
    return duplicates


def deliveries(environment: FleetEnvironment) -> Mapping[str, Sequence[DeliveredEvent]]:
    """Return the events that reached the bus, by execution."""
    found: dict[str, list[DeliveredEvent]] = defaultdict(list)
    for event in list(environment.bus.delivered):
        found[event.detail["executionId"]].append(event)
    return found


def _end_of_publisher(place: FleetProcess, event: DeliveredEvent, item: Mapping[str, Any]) -> tuple[str, str]:
    """Return the member that published an event, and what ended it before the settlement.

    The member is empty if no member of this place ever owned the execution. The cause is empty if no other member
    owned it later.
    """
    joined_at = {each.id: each.joined_at for each in place.memberships}
    owners = [Place.of(line.split(" ")[0]).member for line in item["lg"]]
    own = [owner for owner in owners if owner in joined_at and joined_at[owner] <= event.at.timestamp()]
    if not own:
        return "", ""
    member = own[-1]
    later = owners[len(owners) - 1 - owners[::-1].index(member) + 1 :]
    cause = place.end_of(member)
    return member, cause if cause != ALIVE and later else ""
