"""The record of one place in a fleet: when its processes were disturbed, and their heartbeats and take-overs.

All times are seconds since 1970. The time of a request is the one at which the proxy received it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

from forwarder.ledger.dynamodb.schema import LEDGER, MEMBERS
from tests.harness.dynamodb_faults import Fault, Request

HTTP_OK: Final = 200

HEARTBEAT_SECONDS: Final = 0.4
"""The setting `ledger.heartbeat_interval` of all processes."""

KILLED, PAUSED, STOPPED, ENDED = "killed", "paused", "stopped", "ended"
CUT_OFF, THROTTLED, LOST_REPLIES = "cut off", "throttled", "lost replies of the table"
TABLE_FAULT, SLOW_TABLE, NO_PROCESSOR = "faults of the table", "slow table", "no processor"

TABLE_DISTURBANCES: Final = (CUT_OFF, THROTTLED, LOST_REPLIES)

MIN_SLOW_SECONDS: Final = 0.1


@dataclass(slots=True)
class Disturbance:
    """A time in which something was done to a process. `run` is the number of the process in its place."""

    kind: str
    run: int
    begin: float
    end: float = inf
    faults: int = 0
    """The requests that the table refused, or whose reply it lost, meanwhile."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A heartbeat that the table has written. `left` means that it was the last one of a member that left."""

    at: float
    number: int
    left: bool = False


@dataclass(slots=True)
class Membership:
    """A member that a process of this place has been."""

    id: str
    run: int
    joined_at: float
    heartbeats: list[Heartbeat] = field(default_factory=list)

    def add(self, heartbeat: Heartbeat) -> None:
        """Add a heartbeat. Ignore a repeated one: the others see only that the number changes."""
        if heartbeat.left or heartbeat.number > max((each.number for each in self.heartbeats), default=0):
            self.heartbeats.append(heartbeat)

    def last_before(self, at: float) -> Heartbeat:
        """Return the last heartbeat before a time. The item with which it joined counts as one."""
        earlier = [each for each in self.heartbeats if each.at <= at]
        return earlier[-1] if earlier else Heartbeat(self.joined_at, 0)


@dataclass(frozen=True, slots=True)
class TakeOver:
    """A member that another one took over. It can write no heartbeat after `at`."""

    member: str
    heir: str
    at: float


@dataclass
class Record:
    """The record of one place. `delayed` measures for how long its process waited for a processor between two times."""

    name: str
    memberships: list[Membership] = field(default_factory=list)
    disturbances: list[Disturbance] = field(default_factory=list)
    take_overs: list[TakeOver] = field(default_factory=list)
    """The take-overs that the processes of this place made."""
    delayed: Callable[[float, float], float] = lambda _begin, _end: 0.0
    run: int = 0
    joins_later: bool = False
    """The place is not one of those that are started first."""
    _arrived: dict[int, float] = field(default_factory=dict)

    def begin(self, kind: str) -> Disturbance:
        """Record that something is done to the process from now on."""
        self.disturbances.append(Disturbance(kind, self.run, time.time()))
        return self.disturbances[-1]

    def end(self, kind: str) -> None:
        next(each for each in reversed(self.disturbances) if each.kind == kind).end = time.time()

    @property
    def has_heartbeat(self) -> bool:
        """Return whether the present process has written a heartbeat after it joined."""
        return any(each.run == self.run and each.heartbeats for each in self.memberships)

    def member(self, id_: str) -> Membership | None:
        return next((each for each in self.memberships if each.id == id_), None)

    def disturbances_of(self, member: Membership, kinds: Collection[str] = ()) -> list[Disturbance]:
        """Return what was done to the process of a member, of all kinds or of some."""
        return [each for each in self.disturbances if each.run == member.run and (not kinds or each.kind in kinds)]

    def next_member(self, member: Membership) -> Membership | None:
        number = self.memberships.index(member) + 1
        return self.memberships[number] if number < len(self.memberships) else None

    # Requests at the proxy.

    def observe_arrival(self, request: Request, fault: Fault) -> None:
        """Record when a request to the members arrived. One with a fault delays the next heartbeat by a period."""
        if not _concerns_members(request):
            return
        now = time.time()
        self._arrived[request.number] = now
        if fault.loses_request or fault.loses_reply or fault.refusal:
            self.disturbances.append(Disturbance(TABLE_FAULT, self.run, now, now + HEARTBEAT_SECONDS))

    def observe_reply(self, request: Request, status: int) -> None:
        """Record what a request to the members did, once the table has replied to the proxy."""
        if (at := self._arrived.pop(request.number, None)) is None:
            return
        if time.time() - at > MIN_SLOW_SECONDS:
            self.disturbances.append(Disturbance(SLOW_TABLE, self.run, at, time.time()))
        if status == HTTP_OK and request.writes(MEMBERS):
            self._observe_write(at, request.operation, request.values)

    def _observe_write(self, at: float, operation: str, values: Any) -> None:
        id_ = values.get("Item", values.get("Key"))["s"]["S"]
        if id_ == LEDGER.s:
            return
        if operation == "PutItem":
            self.memberships.append(Membership(id_, self.run, at))
            return
        changes, new = values["UpdateExpression"], values["ExpressionAttributeValues"]
        if changes == "SET heir = :heir":
            self.take_overs.append(TakeOver(id_, new[":heir"]["S"], at))
        elif "be = :be" in changes and (member := self.member(id_)) is not None:
            member.add(Heartbeat(at, int(new[":be"]["N"]), left=":lf" in new))


def _concerns_members(request: Request) -> bool:
    values = request.values
    queried = values.get("ExpressionAttributeValues", {}).get(":p", {})
    return MEMBERS in (queried.get("S"), values.get("Item", values.get("Key", {})).get("p", {}).get("S"))


def covered_seconds(disturbances: Collection[Disturbance], begin: float, end: float) -> float:
    """Return for how long at least one of some disturbances lasted between two times."""
    covered, reached = 0.0, begin
    for each in sorted(disturbances, key=lambda each: each.begin):
        start, stop = max(each.begin, reached), min(each.end, end)
        if stop > start:
            covered, reached = covered + stop - start, stop
    return covered


def first_take_overs(records: Collection[Record]) -> Iterator[TakeOver]:
    """Yield the first take-over of each member. A later heir continues the work of the first."""
    known: set[str] = set()
    for take_over in sorted((each for record in records for each in record.take_overs), key=lambda each: each.at):
        if take_over.member not in known:
            known.add(take_over.member)
            yield take_over
