"""The checks of a fleet from outside: the events at the bus, the items of the table, and the polls of the API."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from forwarder.errors import LedgerError
from forwarder.ledger.dynamodb.executions import SENT_STATE
from forwarder.ledger.dynamodb.window import DEAD, SENT
from forwarder.ledger.fleet import Fleet
from forwarder.ledger.models import Counters
from forwarder.model import Feed
from tests.faults.fleet_disruptions import restart_unavailable
from tests.faults.fleet_duplicates import Items
from tests.faults.fleet_environment import FleetEnvironment, max_interval_ms

MAX_SHARE: Final = 1.4
"""The feeds of a member at a quiet moment, at most, in even shares."""

MIN_FEEDS_FOR_SHARES: Final = 400
"""With fewer feeds, chance alone exceeds `MAX_SHARE`."""

MAX_QUIET_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.3


def wait_until_quiet(environment: FleetEnvironment) -> tuple[list[int], str]:
    """Wait until all processes are members, and each reads exactly the feeds assigned to it.

    Return the feeds of each, and a problem or nothing.
    """
    feeds: list[int] = []

    def is_quiet() -> bool:
        nonlocal feeds
        restart_unavailable(environment.processes)
        members = environment.read(lambda ledger: ledger.members()).members
        feeds = [member.feeds for member in members]
        names = [Feed(workflow) for workflow in environment.workflows]
        assigned = [sum(map(Fleet(members, member.id).is_own, names)) for member in members]
        return len(members) == len(environment.processes) and feeds == assigned

    problem = "" if _eventually(is_quiet) else "the fleet does not become quiet"
    return feeds, f"{problem}: members with {feeds} feeds" if problem else ""


def share_problem(feeds: list[int]) -> str:
    """Return a problem if a member reads many more feeds than the others, or nothing."""
    limit = MAX_SHARE * sum(feeds) / len(feeds) if feeds else 0.0
    return f"the members read {feeds} feeds" if sum(feeds) >= MIN_FEEDS_FOR_SHARES and max(feeds) > limit else ""


def wait_until_drained(environment: FleetEnvironment) -> str:
    """Wait until each failure is settled, and each ended member is taken over. Return a problem or nothing."""
    found = Counters()
    waiting: list[str] = []

    def is_drained() -> bool:
        nonlocal found, waiting
        found = environment.read(lambda ledger: ledger.counters())
        alive = {member.id for member in environment.read(lambda ledger: ledger.members()).members}
        items = environment.member_items()
        waiting = [name for name, item in items.items() if "gone" not in item and name not in alive]
        return found.pending == 0 and found.recorded >= len(environment.failed) and not waiting

    if _eventually(is_drained):
        return ""
    return f"not drained: {found} of {len(environment.failed)}, members that nobody takes over: {waiting}"


def unread(environment: FleetEnvironment) -> str:
    """Wait until each feed is polled once more. Return a problem with those that are not, or nothing."""
    start = len(environment.alloy.requests)
    missing = set(environment.workflows)

    def all_read() -> bool:
        paths = {request.path for request in environment.alloy.requests[start:]}
        missing.difference_update(path.split("/")[-2] for path in paths)
        return not missing

    is_read = _eventually(all_read, within=30 + 3 * max_interval_ms(len(environment.workflows)) / 1000)
    return "" if is_read else f"unread feeds: {sorted(missing)[:20]}"


def execution_items(environment: FleetEnvironment) -> Items:
    """Return the items of all executions, by digest."""
    return {name.removeprefix("x#").removesuffix("/x"): item for name, item in environment.scan("x#").items()}


def item_problems(environment: FleetEnvironment, items: Items) -> Iterator[str]:
    """Yield a problem for each set of items that is not as it must be after the drain."""
    if len(items) != len(environment.failed):
        yield f"{len(items)} executions for {len(environment.failed)} failures"
    if unsent := [name for name, item in items.items() if item["st"] != SENT_STATE]:
        yield f"{len(unsent)} not sent, such as {items[unsent[0]]}"
    settlements = {
        name: sum(line.endswith((f" {SENT}", f" {DEAD}")) for line in item["lg"]) for name, item in items.items()
    }
    if twice := [name for name, count in settlements.items() if count > 1]:
        yield f"{len(twice)} settled more than once, such as {items[twice[0]]}"


def audit_problem(environment: FleetEnvironment, when: str) -> str:
    """Return a problem if the counters differ from the items or from the failures, or nothing."""
    try:
        counters = environment.read(lambda ledger: ledger.audit())
    except LedgerError as error:
        return f"audit {when}: {error.message}"
    expected = Counters(recorded=len(environment.failed), sent=len(environment.failed))
    return "" if counters == expected else f"audit {when}: {counters}, expected {expected}"


def faulty_lines(environment: FleetEnvironment) -> list[str]:
    """Return the lines of all logs with a traceback or a stalled loop."""
    lines = [line for place in environment.processes for line in place.lines()]
    return [line for line in lines if '"exception"' in line or "Traceback" in line or '"loop stalled"' in line]


def exit_problem(environment: FleetEnvironment) -> str:
    codes = Counter(code for place in environment.processes for code in place.exit_codes)
    return "" if set(codes) <= {0} else f"exit codes after SIGTERM: {dict(codes)}"


def _eventually(condition: Callable[[], bool], *, within: float = MAX_QUIET_SECONDS) -> bool:
    end = time.monotonic() + within
    while not (is_met := condition()) and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    return is_met
