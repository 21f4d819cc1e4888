"""Five forwarders on one table in DynamoDB, which are killed, paused, stopped and cut off, from any seed.

    python -m tests.faults.soak_fleet --seed 7 --seeds 10 --workflows 400 --failures 20000

Failures appear in rounds of some seconds while the fleet is disrupted. After each round all processes run again, and
the feeds of each are counted. At the end, each failure must have reached the bus, and each duplicate must be explained.
The seed decides the sequence of the failures and that of the disruptions: their kinds, targets, durations, and earliest
times. It does not decide how the processes interleave: a disruption waits until an earlier one of its target has ended.
Each run has each kind of disruption, and one forwarder joins meanwhile.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from tests.faults import fleet_checks as checks
from tests.faults.crash import misreported_requests
from tests.faults.fleet_disruptions import Disruptions
from tests.faults.fleet_duplicates import by_execution, explain
from tests.faults.fleet_environment import FleetEnvironment, start_environment
from tests.faults.fleet_occurrences import missing_kinds, occurred
from tests.faults.fleet_plan import ROUND_SECONDS, Planned, generator, plan_disruptions
from tests.faults.fleet_take_overs import take_over_problems

PROCESSES: Final = 4
SPARES: Final = 1
FAILURES_PER_ROUND: Final = 500
MIN_ROUNDS: Final = 3
MAX_ROUND_SECONDS: Final = 120.0
TICK_SECONDS: Final = 0.05


@dataclass
class Result:
    """The figures of one seed. It passed if there is no problem."""

    seed: int
    workflows: int
    failures: int = 0
    lost: int = 0
    duplicates: Counter[str] = field(default_factory=Counter)
    disruptions: Counter[str] = field(default_factory=Counter)
    members: int = 0
    restarts: int = 0
    max_share: float = 0.0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        duplicates = ", ".join(f"{count} {cause}" for cause, count in sorted(self.duplicates.items()))
        disruptions = ", ".join(f"{count} {kind}" for kind, count in sorted(self.disruptions.items()))
        summary = (
            f"seed {self.seed}: {'FAILED' if self.problems else 'passed'}, {self.failures} failures of"
            f" {self.workflows} workflows, {self.lost} lost, {self.duplicates.total()} duplicates ({duplicates});"
            f" {disruptions}; {self.restarts} starts without the table; {self.members} members,"
            f" at most {self.max_share:.2f} even shares; {self.seconds:.0f} s"
        )
        return "\n  ".join([summary, *(problem[:1000] for problem in self.problems)])


def soak(seed: int, *, workflows: int, failures: int, directory: Path) -> Result:
    """Run the fleet once."""
    result, began = Result(seed, workflows), time.monotonic()
    with start_environment(directory, seed, workflows=workflows, processes=PROCESSES, spares=SPARES) as environment:
        for place in environment.processes:
            place.start()
        draw = generator(seed, "failures")
        disruptions = Disruptions(environment.processes, environment.spares)
        rounds = max(MIN_ROUNDS, failures // FAILURES_PER_ROUND)
        _observe_quiet(environment, result)
        for number, planned in enumerate(plan_disruptions(seed, rounds=rounds, processes=PROCESSES)):
            if result.problems:
                break
            share = failures * (number + 1) // rounds - failures * number // rounds
            run_round(environment, disruptions, planned, draw, share)
            result.problems += disruptions.problems
            _observe_quiet(environment, result)
        for place in environment.processes:
            result.disruptions += occurred(place.record)
        _check(environment, result)
    result.seconds = time.monotonic() - began
    return result


def run_round(
    environment: FleetEnvironment, disruptions: Disruptions, planned: Sequence[Planned], draw: Random, failures: int
) -> None:
    """List failures and disrupt the fleet. Return when nothing is disrupted any more."""
    began, waiting, listed = time.monotonic(), deque(planned), 0
    while listed < failures or waiting:
        elapsed = time.monotonic() - began
        while listed < min(failures, failures * elapsed / ROUND_SECONDS):
            environment.fail(draw)
            listed += 1
        while waiting and waiting[0].at <= elapsed and disruptions.begin(waiting[0]):
            waiting.popleft()
        if waiting and elapsed > MAX_ROUND_SECONDS:
            disruptions.problems.append(f"a disruption cannot begin: {waiting.popleft()}")
        disruptions.run_due()
        time.sleep(TICK_SECONDS)
    disruptions.finish()


def _observe_quiet(environment: FleetEnvironment, result: Result) -> None:
    feeds, problem = checks.wait_until_quiet(environment)
    if feeds:
        result.max_share = max(result.max_share, max(feeds) * len(feeds) / max(1, sum(feeds)))
    result.problems += [each for each in (problem, checks.share_problem(feeds)) if each]


def _check(environment: FleetEnvironment, result: Result) -> None:
    """Check all that must hold, before and after the processes have left."""
    result.problems += _found(
        checks.wait_until_drained(environment),
        checks.unread(environment),
        checks.audit_problem(environment, "while all run"),
    )
    for place in environment.processes:
        if place.is_running:
            place.terminate()
    end = time.monotonic() + checks.MAX_QUIET_SECONDS
    while any(place.is_running for place in environment.processes) and time.monotonic() < end:
        time.sleep(TICK_SECONDS)
    for place in environment.processes:
        place.has_ended()
    _judge(environment, result)


def _judge(environment: FleetEnvironment, result: Result) -> None:
    """Judge what reached the bus and the table, by the records of all places."""
    items = checks.execution_items(environment)
    sent, misreported = by_execution(environment.bus.delivered), misreported_requests(environment.bus)
    lost = sorted(environment.failed - set(sent))
    records = {place.source: place.record for place in environment.processes}
    duplicates = explain(sent, items, records=records, misreported=misreported)
    result.failures, result.lost, result.duplicates = len(environment.failed), len(lost), duplicates.causes
    result.restarts = sum(place.restarts for place in environment.processes)
    result.members = sum(len(each.memberships) for each in records.values())
    result.problems += _found(
        f"lost: {lost[:20]}" if lost else "",
        checks.audit_problem(environment, "after all have left"),
        *checks.item_problems(environment, items),
        *duplicates.problems[:20],
        *take_over_problems([*records.values()]),
        missing_kinds(result.disruptions, misreported),
        checks.exit_problem(environment),
        *checks.faulty_lines(environment)[:5],
    )


def _found(*problems: str) -> list[str]:
    return [problem for problem in problems if problem]


def _soak_in_new_directory(seed: int, workflows: int, failures: int) -> Result:
    """Run one seed. The logs of a failed run are kept."""
    directory = Path(tempfile.mkdtemp(prefix=f"soak-fleet-{seed}-"))
    result = soak(seed, workflows=workflows, failures=failures, directory=directory)
    if result.problems:
        sys.stderr.write(f"seed {seed}: kept in {directory}\n")
    else:
        shutil.rmtree(directory)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak_fleet", description="Disrupt a whole fleet.")
    parser.add_argument("--seed", type=int, help="the first seed [default: random]")
    parser.add_argument("--seeds", type=int, default=1, help="the number of seeds [default: 1]")
    parser.add_argument("--workflows", type=int, default=400, help="[default: 400]")
    parser.add_argument("--failures", type=int, default=20_000, help="[default: 20000]")
    chosen = parser.parse_args(arguments)
    first = random.SystemRandom().randrange(10**6) if chosen.seed is None else chosen.seed
    failed = []
    for seed in range(first, first + chosen.seeds):
        result = _soak_in_new_directory(seed, chosen.workflows, chosen.failures)
        sys.stdout.write(f"{result}\n")
        sys.stdout.flush()
        failed += [result.seed] if result.problems else []
    which = f": seeds {failed}" if failed else ""
    sys.stdout.write(f"{chosen.seeds - len(failed)} passed, {len(failed)} failed{which}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
