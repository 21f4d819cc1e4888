"""The price of a fleet in US dollars, by the list prices of us-east-1."""

import math
from dataclasses import dataclass

from tests.benchmarks.fleet_capacity import HOUR_SECONDS, SETTINGS, Capacity, Fleet, Sample, evaluate

MONTH_SECONDS = 30 * 86_400.0

# AWS list prices. A custom event of up to 64 KB is one event; DynamoDB is on demand.
EVENT_DOLLARS = 1.00e-6
WRITE_UNIT_DOLLARS, READ_UNIT_DOLLARS = 0.625e-6, 0.125e-6

# A failure of 2 KB that is recorded alone. Failures that are recorded together take 2.2 to 2.4 write units each,
# measured on an emulator (docs/fleet.md). Look-ups and a month of storage are estimates.
FAILURE_WRITE_UNITS, FAILURE_OTHER_DOLLARS = 3.0, (0.06 + 0.30) * 1e-6

# The design of the shared ledger. A heartbeat is one write, and one eventually consistent read of all members.
HEARTBEAT_SECONDS, MEMBER_BYTES, READ_UNIT_BYTES = 5.0, 350, 4096
MIN_CHECKPOINT_SECONDS = 600.0

# Assumed: each process has one vCPU and 2 GB on Fargate.
VCPU_HOUR_DOLLARS, GIGABYTE_HOUR_DOLLARS = 0.04048, 0.004445
HOST_HOUR_DOLLARS = VCPU_HOUR_DOLLARS + 2 * GIGABYTE_HOUR_DOLLARS


@dataclass(frozen=True, slots=True)
class Costs:
    """The dollars of a month of usual times, and of the failures that an hour adds in which every execution fails."""

    hosts: float
    idle_ledger: float
    failures_ledger: float
    events: float
    failing_hour: float

    @property
    def month(self) -> float:
        return self.hosts + self.idle_ledger + self.failures_ledger + self.events


def costs(fleet: Fleet, sample: Sample) -> Costs:
    """Return the costs of a fleet. One process uses SQLite, which costs nothing."""
    capacity = evaluate(fleet, sample)
    ledger = FAILURE_WRITE_UNITS * WRITE_UNIT_DOLLARS + FAILURE_OTHER_DOLLARS if fleet.is_shared else 0.0
    more_failures = HOUR_SECONDS * (capacity.executions - capacity.failures)
    return Costs(
        hosts=fleet.processes * HOST_HOUR_DOLLARS * MONTH_SECONDS / HOUR_SECONDS,
        idle_ledger=_idle_ledger(fleet, sample, capacity) if fleet.is_shared else 0.0,
        failures_ledger=MONTH_SECONDS * capacity.failures * ledger,
        events=MONTH_SECONDS * capacity.failures * EVENT_DOLLARS,
        failing_hour=more_failures * (EVENT_DOLLARS + ledger),
    )


def _idle_ledger(fleet: Fleet, sample: Sample, capacity: Capacity) -> float:
    """Return the price of a month of heartbeats and checkpoints in DynamoDB."""
    read_units = math.ceil(fleet.processes * MEMBER_BYTES / READ_UNIT_BYTES) / 2
    heartbeat = WRITE_UNIT_DOLLARS + read_units * READ_UNIT_DOLLARS
    checkpoints = fleet.workflows * checkpoints_per_second(fleet, sample, capacity)
    return MONTH_SECONDS * (fleet.processes / HEARTBEAT_SECONDS * heartbeat + checkpoints * WRITE_UNIT_DOLLARS)


def checkpoints_per_second(fleet: Fleet, sample: Sample, capacity: Capacity) -> float:
    """Return the mean checkpoints a second of a feed.

    It is written after each full scan, and at most every MIN_CHECKPOINT_SECONDS if a new execution was listed.
    """
    longest = max(SETTINGS.max_interval.total_seconds(), capacity.usual.late_seconds)
    rates = [
        min(1 / longest, max(1 / fleet.scans.full_scan_seconds, min(each, 1 / MIN_CHECKPOINT_SECONDS)))
        for each in sample.executions
    ]
    return sum(rates) / len(rates)
