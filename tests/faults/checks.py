"""What must hold at the end, seen from outside."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from forwarder.app import RuntimeConfig
from forwarder.ledger.sqlite.payloads import decompress
from forwarder.settings import ConfigSource, load
from forwarder.vault import Vault
from tests.fakes.alloy import API_KEY
from tests.fakes.eventbridge import KEY
from tests.faults.crash import IN_FLIGHT, spoiled_requests
from tests.faults.simulation_environment import SimulationEnvironment
from tests.faults.workload import CANARY
from tests.harness.installation import SECRETS

PLANTED: Final = (
    *(CANARY, API_KEY, KEY.secret),
    *("demo.customer.token", "demo-session", "demo-hunter2", "demo-api-key", "203.0.113.70"),
)


def lost(environment: SimulationEnvironment, dead: set[str]) -> set[str]:
    """Failures that the logs API showed, and that reached neither the bus nor the dead letters."""
    return set(environment.alloy.api.listed_ids) - set(deliveries(environment)) - dead


def dropped(environment: SimulationEnvironment, dead: set[str]) -> set[str]:
    """Of those that are lost, what a bus that was missing had accepted."""
    return lost(environment, dead) & {event.detail["executionId"] for event in list(environment.bridge.dropped)}


def unread(environment: SimulationEnvironment) -> set[str]:
    """Failures that were never even asked for, although every feed was read to the bottom."""
    return environment.workload.failed - set(environment.alloy.api.listed_ids)


def invented(environment: SimulationEnvironment, dead: set[str]) -> set[str]:
    """What was sent, or is dead, and never failed."""
    return (set(deliveries(environment)) | dead) - environment.workload.failed


def deliveries(environment: SimulationEnvironment) -> Counter[str]:
    return Counter(event.detail["executionId"] for event in list(environment.bridge.delivered))


def unexplained(environment: SimulationEnvironment) -> dict[str, int]:
    """Duplicates beyond those that a lost reply, a crash or a bus that went missing may cost: of each, how many."""
    allowed: Counter[str] = Counter()
    spoiled = spoiled_requests(environment.bridge)
    for event in list(environment.bridge.delivered):
        id_ = event.detail["executionId"]
        allowed[id_] += event.request_index in spoiled
        allowed[id_] += environment.is_taken_back(event.request_index)
    for crash in environment.crashes:
        allowed.update(crash.unsettled)
    more = {id_: count - 1 - allowed[id_] for id_, count in deliveries(environment).items()}
    return {id_: count for id_, count in more.items() if count > 0}


def too_many_in_flight(environment: SimulationEnvironment) -> list[int]:
    """Crashes that left more requests in doubt than may be in flight: those of one plan, and of the one before it."""
    return [len(crash.requests) for crash in environment.crashes if len(crash.requests) > IN_FLIGHT]


def leaks(environment: SimulationEnvironment) -> list[str]:
    """Where a planted secret turned up."""
    planted = [*PLANTED, environment.installation.master_key_file.read_text().strip()]
    return [f"{place}: {secret}" for place, text in _told(environment) for secret in planted if secret in text]


def _told(environment: SimulationEnvironment) -> Iterator[tuple[str, str]]:
    for log in environment.installation.log_files():
        yield log.name, log.read_text(errors="replace")
    for event in [*environment.bridge.delivered, *environment.bridge.dropped]:
        yield f"event {event.event_id}", json.dumps(event.entry, ensure_ascii=False)
    for number, text in enumerate(environment.said):
        yield f"verb {number}", text
    yield from _held(environment.installation.ledger_file)
    yield from _shown(ConfigSource(environment.installation.settings_file, {}))


def _shown(place: ConfigSource) -> Iterator[tuple[str, str]]:
    """How what holds the secrets looks in a log or a debugger."""
    settings = load(place)
    plan = RuntimeConfig.of(place, settings)
    vault = Vault.open(place, settings)
    for held in (settings, plan, plan.stored_keys, vault, vault.key, *(vault.reveal(name) for name in SECRETS)):
        yield f"a {type(held).__name__}", f"{held!r} {held}"


def _held(ledger: Path) -> Iterator[tuple[str, str]]:
    """All that the ledger holds, unpacked."""
    with closing(sqlite3.connect(ledger)) as db:
        for (table,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            for row in db.execute(f"SELECT * FROM {table}"):  # noqa: S608 - a name of the ledger's own
                values = [decompress(*row)] if table == "payloads" else row
                yield f"ledger, {table}", " ".join(map(_text, values))


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    return value.decode(errors="replace")


def told(found: Mapping[str, object]) -> Iterator[str]:
    """What is not empty, as problems; never at full length."""
    for what, which in found.items():
        if which:
            yield f"{what}: {str(which)[:600]}"
