"""The judgement of each take-over of a member: its heartbeat stood still, and something explains it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from tests.faults.fleet_record import (
    HEARTBEAT_SECONDS,
    NO_PROCESSOR,
    STOPPED,
    Membership,
    Record,
    TakeOver,
    covered_seconds,
    first_take_overs,
)

DEAD_AFTER_SECONDS: Final = 5 * 0.9 * HEARTBEAT_SECONDS
"""The time for which a heartbeat stands still at least before a take-over, as `docs/fleet.md` promises.

It is five heartbeats of an observer, each of which may be a tenth of the period early.
"""


@dataclass(frozen=True, slots=True)
class Silence:
    """The time before a take-over in which a member wrote no heartbeat, and the part that nothing explains.

    `cause` is the disturbance that explains most of it.
    """

    begin: float
    end: float
    unexplained_seconds: float
    cause: str

    @property
    def seconds(self) -> float:
        return self.end - self.begin

    @property
    def problem(self) -> str:
        if self.seconds < DEAD_AFTER_SECONDS:
            return f"its heartbeat stood still for only {self.seconds:.2f} s"
        if self.unexplained_seconds >= DEAD_AFTER_SECONDS:
            return f"nothing explains {self.unexplained_seconds:.2f} of {self.seconds:.2f} s without a heartbeat"
        return ""


def silence_before(record: Record, member: Membership, take_over: TakeOver) -> Silence | None:
    """Return the silence of a member before it was taken over, or None if it had left."""
    last = member.last_before(take_over.at)
    if last.left:
        return None
    begin, end = last.at, take_over.at
    # A process that ends after SIGTERM writes heartbeats until it has ended.
    disturbances = [each for each in record.disturbances_of(member) if each.kind != STOPPED]
    delayed = record.delayed(begin, end)
    shares = {NO_PROCESSOR: delayed}
    for kind in {each.kind for each in disturbances}:
        shares[kind] = covered_seconds([each for each in disturbances if each.kind == kind], begin, end)
    unexplained = end - begin - covered_seconds(disturbances, begin, end) - delayed
    return Silence(begin, end, max(0.0, unexplained), max(shares, key=lambda kind: shares[kind]))


def take_over_problems(records: Collection[Record]) -> Iterator[str]:
    """Yield a problem for each member that was taken over although it lived, or that was silent without a reason."""
    for take_over in first_take_overs(records):
        for record in records:
            if (member := record.member(take_over.member)) is None:
                continue
            silence = silence_before(record, member, take_over)
            if silence and silence.problem:
                yield f"{record.name}/{member.id} was taken over by {take_over.heir}: {silence.problem}"
