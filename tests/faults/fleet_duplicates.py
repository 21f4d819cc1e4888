"""The explanation of each duplicate of a fleet: a lost reply of the bus, or what was done to its publisher then."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from forwarder.ledger.dynamodb.schema import Place, digest
from tests.fakes.eventbridge import DeliveredEvent
from tests.faults.fleet_record import (
    KILLED,
    PAUSED,
    STOPPED,
    TABLE_DISTURBANCES,
    Membership,
    Record,
    TakeOver,
    covered_seconds,
    first_take_overs,
)
from tests.faults.fleet_take_overs import DEAD_AFTER_SECONDS, silence_before

LOST_REPLY: Final = "lost reply"

CONCURRENCY: Final = 4
"""The PutEvents requests that a process has in flight."""

MAX_EVENTS_IN_FLIGHT: Final = 2 * CONCURRENCY * 10
"""The events of the requests in flight, and of those whose settlements are not written yet."""

MAX_HEARTBEATS_IN_FLIGHT: Final = 5
"""The heartbeats that a process writes between the delivery of an event and its settlement.

The bus replies after 0.5 s at most. The heartbeats of the process itself are the clock, so that it may run slowly.
"""

Items = Mapping[str, Mapping[str, Any]]
"""The items of the executions, by digest."""


@dataclass
class Duplicates:
    """The duplicates by cause, and those that nothing explains."""

    causes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def explain(
    events: Mapping[str, Sequence[DeliveredEvent]],
    items: Items,
    *,
    records: Mapping[str, Record],
    misreported: Collection[int],
) -> Duplicates:
    """Explain all deliveries of each execution except the one that its settlement names.

    `records` are by the `source` of the events, and `misreported` are the requests whose reply the bus lost.
    """
    duplicates = Duplicates()
    take_overs = {take_over.member: take_over for take_over in first_take_overs(records.values())}
    per_member: Counter[tuple[str, str]] = Counter()
    for execution_id, sent in events.items():
        item = items.get(digest(execution_id))
        if item is None or item.get("ev") not in [event.event_id for event in sent]:
            duplicates.problems.append(f"{execution_id} was sent, and its item does not name the event: {item}")
            continue
        for event in sent:
            if event.event_id == item["ev"]:
                continue
            if event.request_index in misreported:
                duplicates.causes[LOST_REPLY] += 1
                continue
            record = records[event.entry["Source"]]
            if (found := _explanation(record, event, item, take_overs)) is not None:
                duplicates.causes[found[0]] += 1
                per_member[found] += 1
            else:
                duplicates.problems.append(
                    f"{execution_id} was sent by {record.name} at {event.at:%H:%M:%S.%f} as {event.event_id}, and"
                    f" again, without a reason: {item['lg']}, settled as {item['ev']}"
                )
    for (cause, name), count in per_member.items():
        if count > MAX_EVENTS_IN_FLIGHT:
            duplicates.problems.append(f"{count} events of the member {name}, {cause}, were sent again")
    return duplicates


def by_execution(delivered: Sequence[DeliveredEvent]) -> Mapping[str, Sequence[DeliveredEvent]]:
    """Return the events that reached the bus, by execution."""
    found: dict[str, list[DeliveredEvent]] = defaultdict(list)
    for event in list(delivered):
        found[event.detail["executionId"]].append(event)
    return found


def _explanation(
    record: Record, event: DeliveredEvent, item: Mapping[str, Any], take_overs: Mapping[str, TakeOver]
) -> tuple[str, str] | None:
    """Return what kept the publisher of an event from settling it, and the publisher, or None."""
    at = event.at.timestamp()
    for member in _publishers(record, at, item):
        if cause := cause_of(record, member, at, take_overs.get(member.id)):
            return cause, member.id
    return None


def cause_of(record: Record, member: Membership, sent_at: float, take_over: TakeOver | None) -> str:
    """Return what kept a member from settling an event that it sent, or nothing if nothing explains it."""
    return (
        _end_of_process(record, member, sent_at, KILLED)
        or _take_over(record, member, sent_at, take_over)
        or _end_of_process(record, member, sent_at, STOPPED)
    )


def _end_of_process(record: Record, member: Membership, sent_at: float, kind: str) -> str:
    """Return a kind of end, if the process of a member ended so while an event was in flight, or nothing."""
    following = record.next_member(member)
    was_running = following is None or sent_at < following.joined_at
    ends = [each.begin for each in record.disturbances_of(member, [kind])]
    return kind if was_running and any(_is_in_flight(record, member, sent_at, each) for each in ends) else ""


def _take_over(record: Record, member: Membership, sent_at: float, take_over: TakeOver | None) -> str:
    """Return the cause of a silence before a take-over, if an event was in flight in it, or nothing."""
    if take_over is None or (silence := silence_before(record, member, take_over)) is None or silence.problem:
        return ""
    # It stops publishing when its own heartbeat is old. A request of a paused process leaves it later.
    paused = covered_seconds(record.disturbances_of(member, [PAUSED]), silence.begin, sent_at)
    late = sent_at - silence.begin - paused - record.delayed(silence.begin, max(silence.begin, sent_at))
    if late >= DEAD_AFTER_SECONDS or not _is_in_flight(record, member, sent_at, silence.begin):
        return ""
    return silence.cause


def _is_in_flight(record: Record, member: Membership, sent_at: float, until: float) -> bool:
    """Return whether an event may have no settlement yet. While the table is disturbed, settlements take longer."""
    disturbances = record.disturbances_of(member, TABLE_DISTURBANCES)
    written = [
        each
        for each in member.heartbeats
        if sent_at < each.at <= until and not any(other.begin <= each.at <= other.end for other in disturbances)
    ]
    return len(written) <= MAX_HEARTBEATS_IN_FLIGHT


def _publishers(record: Record, sent_at: float, item: Mapping[str, Any]) -> list[Membership]:
    """Return the members of this place that may have sent an event, and after which another owned the execution."""
    owners = [Place.of(line.split(" ")[0]).member for line in item["lg"]]
    members = {owner: record.member(owner) for owner in owners if owner != owners[-1]}
    return [each for each in reversed([*members.values()]) if each is not None and each.joined_at <= sent_at]
