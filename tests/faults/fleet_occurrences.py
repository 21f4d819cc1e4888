"""The proof that a run had each kind of disruption, from what was measured at the processes and the proxies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Final

from tests.faults import fleet_plan as plan
from tests.faults.fleet_record import (
    CUT_OFF,
    HEARTBEAT_SECONDS,
    KILLED,
    LOST_REPLIES,
    PAUSED,
    STOPPED,
    THROTTLED,
    Disturbance,
    Membership,
    Record,
)

LONG_PAUSE_SECONDS: Final = 5 * HEARTBEAT_SECONDS
"""The period after which another member takes over, in intervals of which none is early."""

LOST_BUS_REPLY: Final = "lost reply of the bus"

TABLE_KINDS: Final = {THROTTLED: plan.THROTTLE, LOST_REPLIES: plan.LOSE_REPLIES, CUT_OFF: plan.CUT_OFF}


def occurred(record: Record) -> Counter[str]:
    """Return how often each kind of disruption had its effect on the processes of a place."""
    # A process that was taken over joins again: its first member counts.
    members = {each.run: each for each in reversed(record.memberships)}
    kinds = (_effect(each, members.get(each.run)) for each in record.disturbances)
    found = Counter(kind for kind in kinds if kind)
    if record.joins_later and any(each.heartbeats for each in record.memberships):
        found[plan.JOIN] += 1
    return found


def missing_kinds(occurrences: Counter[str], misreported: Collection[int]) -> str:
    """Return a problem with the kinds of disruptions that a run did not have, or nothing."""
    missing = [kind for kind in plan.GUARANTEED if not occurrences[kind]]
    missing += [] if misreported else [LOST_BUS_REPLY]
    return f"kinds of disruptions that did not occur: {', '.join(missing)}" if missing else ""


def _effect(each: Disturbance, member: Membership | None) -> str:
    """Return the kind of disruption that a disturbance was, or nothing if it hit a process that was no member yet."""
    if each.kind in TABLE_KINDS:
        return TABLE_KINDS[each.kind] if each.faults else ""
    if member is None or member.joined_at > each.begin:
        return ""
    if each.kind == PAUSED:
        return plan.LONG_PAUSE if each.end - each.begin > LONG_PAUSE_SECONDS else plan.PAUSE
    return {KILLED: plan.KILL, STOPPED: plan.TERMINATE}.get(each.kind, "")
