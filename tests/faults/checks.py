"""The checks at the end of a simulation, made from outside the process."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from forwarder.configuration import RuntimeConfig
from forwarder.event.idempotency import idempotency_key
from forwarder.ledger.sqlite.payloads import decompress
from forwarder.settings import ConfigSource, load
from forwarder.vault import Vault
from tests.fakes.alloy import API_KEY
from tests.fakes.eventbridge import KEY
from tests.faults.crash import MAX_IN_FLIGHT, misreported_requests
from tests.faults.simulation_environment import SimulationEnvironment
from tests.faults.workload import CANARY
from tests.harness.installation import SECRETS

PLANTED: Final = (
    *(CANARY, API_KEY, KEY.secret),
    *("demo.customer.token", "demo-session", "demo-hunter2", "demo-api-key", "203.0.113.70"),
)


def lost(environment: SimulationEnvironment, dead: set[str]) -> set[str]:
    """Return the listed failures that reached neither the bus nor the dead letters."""
    return set(environment.alloy.api.listed_ids) - set(deliveries(environment)) - dead


def dropped(environment: SimulationEnvironment, dead: set[str]) -> set[str]:
    """Return the lost failures that a missing bus had accepted."""
    return lost(environment, dead) & {event.detail["executionId"] for event in list(environment.bridge.dropped)}


def unread(environment: SimulationEnvironment) -> set[str]:
    """Return the failures that were never listed, although every feed had a full scan."""
    return environment.workload.failed - set(environment.alloy.api.listed_ids)


def never_failed(environment: SimulationEnvironment, dead: set[str]) -> set[str]:
    """Return the executions that were sent or are dead letters, and never failed."""
    return (set(deliveries(environment)) | dead) - environment.workload.failed


def deliveries(environment: SimulationEnvironment) -> Counter[str]:
    return Counter(event.detail["executionId"] for event in list(environment.bridge.delivered))


def unexplained_duplicates(environment: SimulationEnvironment) -> dict[str, int]:
    """Count the duplicates of each execution that no lost response, crash or missing bus explains."""
    allowed: Counter[str] = Counter()
    misreported = misreported_requests(environment.bridge)
    for event in list(environment.bridge.delivered):
        id_ = event.detail["executionId"]
        allowed[id_] += event.request_index in misreported
        allowed[id_] += environment.may_be_requeued(event.request_index)
    for crash in environment.crashes:
        allowed.update(crash.unsettled)
    more = {id_: count - 1 - allowed[id_] for id_, count in deliveries(environment).items()}
    return {id_: count for id_, count in more.items() if count > 0}


def wrong_keys(environment: SimulationEnvironment) -> set[str]:
    """Return the executions with another key than that of the first send. A simulation has no replays."""
    details = [event.detail for event in list(environment.bridge.delivered)]
    return {
        detail["executionId"]
        for detail in details
        if detail["forwarder"]["idempotencyKey"] != idempotency_key(detail["executionId"], 1)
    }


def too_many_in_flight(environment: SimulationEnvironment) -> list[int]:
    """Return the number of unsettled requests of each crash that left more of them than can be in flight."""
    return [len(crash.requests) for crash in environment.crashes if len(crash.requests) > MAX_IN_FLIGHT]


def leaks(environment: SimulationEnvironment) -> list[str]:
    """Return each planted secret that occurs in an output, with the output's name."""
    planted = [*PLANTED, environment.installation.master_key_file.read_text().strip()]
    return [f"{source}: {secret}" for source, text in _outputs(environment) for secret in planted if secret in text]


def _outputs(environment: SimulationEnvironment) -> Iterator[tuple[str, str]]:
    for log in environment.installation.log_files():
        yield log.name, log.read_text(errors="replace")
    for event in [*environment.bridge.delivered, *environment.bridge.dropped]:
        yield f"event {event.event_id}", json.dumps(event.entry, ensure_ascii=False)
    for number, text in enumerate(environment.outputs):
        yield f"command {number}", text
    yield from _ledger_texts(environment.installation.ledger_file)
    yield from _representations(ConfigSource(environment.installation.settings_file, {}))


def _representations(source: ConfigSource) -> Iterator[tuple[str, str]]:
    """Yield the representations of all objects that hold secrets, as a log or a debugger shows them."""
    settings = load(source)
    plan = RuntimeConfig.of(source, settings)
    vault = Vault.open(source, settings)
    for held in (settings, plan, plan.stored_keys, vault, vault.key, *(vault.reveal(name) for name in SECRETS)):
        yield f"a {type(held).__name__}", f"{held!r} {held}"


def _ledger_texts(ledger: Path) -> Iterator[tuple[str, str]]:
    """Yield every row of the ledger, decompressed."""
    with closing(sqlite3.connect(ledger)) as db:
        for (table,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            for row in db.execute(f"SELECT * FROM {table}"):  # noqa: S608 - a name of the ledger's own
                values = [decompress(*row)] if table == "payloads" else row
                yield f"ledger, {table}", " ".join(map(_text, values))


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    return value.decode(errors="replace")


def problems_of(found: Mapping[str, object]) -> Iterator[str]:
    """Yield a problem for each finding that is not empty, in at most 600 characters."""
    for what, which in found.items():
        if which:
            yield f"{what}: {str(which)[:600]}"
