"""The executions in the logs API: they start, succeed, fail, fail late, and contain secrets."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from forwarder.demo.sample_data import FAILURES, VARIANTS, Outcome, Variant, customer_order, execution, is_failed_record
from tests.fakes.alloy_api import DocumentedAlloyApi

WORKFLOWS: Final = ("w-1", "w-2", "w%3 ü", "w-4")
USERS: Final = {"w-4": "u-1"}
FEEDS: Final = [id_ if id_ not in USERS else {"id": id_, "user_id": USERS[id_]} for id_ in WORKFLOWS]

CANARY: Final = "c4nary"
"""A part of every secret planted in a payload, a key or the settings. No output may contain it."""

ERROR_TEXT: Final = (
    f"401 from https://shop:{CANARY}-in-url@shop.example/hook?access_token={CANARY}-query&page=1"
    f" with Authorization: Bearer {CANARY}.bearer-in-text"
)


@dataclass(frozen=True)
class Running:
    id: str
    workflow: str
    started: datetime
    variant: Variant
    listed: bool


@dataclass
class Workload:
    """The source of executions. `failed` has every execution that failed, listed or not."""

    api: DocumentedAlloyApi
    failed: set[str] = field(default_factory=set)
    running: list[Running] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        for workflow in WORKFLOWS:
            self.api.add_workflow(workflow)

    def fail(self, draw: Random, count: int = 1, workflow: str = "") -> None:
        for _ in range(count):
            chosen = workflow or draw.choice(WORKFLOWS)
            self._list(chosen, self.record(draw, draw.choice(FAILURES)))

    def succeed(self, draw: Random, count: int = 1) -> None:
        for _ in range(count):
            self._list(draw.choice(WORKFLOWS), self.record(draw, "success"))

    def start(self, draw: Random, *, listed: bool = True, ago: timedelta = timedelta()) -> None:
        """Start a running execution. One that is not listed appears only when it has stopped."""
        started = self.api.now() - ago
        run = Running(self._id(draw), draw.choice(WORKFLOWS), started, draw.choice(VARIANTS), listed)
        self.running.append(run)
        if listed:
            record = execution("running", id=run.id, started=started, variant=run.variant, payload={})
            self._list(run.workflow, record)

    def finish(self, draw: Random) -> None:
        """Stop a running execution with a random outcome. Do nothing if none runs."""
        if not self.running:
            return
        run = self.running.pop(draw.randrange(len(self.running)))
        record = self._stopped_record(draw, run, draw.choice(["success", *FAILURES]))
        if run.listed:
            self._save_if_failed(record)
            self.api.update(run.id, **{"status": None, "finished": None, **record})
        else:
            self._list(run.workflow, record)

    def fail_a_day_late(self, draw: Random) -> None:
        """Fail an execution that started up to 22 hours ago and was never listed."""
        started = self.api.now() - timedelta(hours=draw.uniform(1, 22))
        run = Running(self._id(draw), draw.choice(WORKFLOWS), started, draw.choice(VARIANTS), listed=False)
        self._list(run.workflow, self._stopped_record(draw, run, draw.choice(FAILURES)))

    def fail_twice(self, draw: Random) -> None:
        """List one failure under two workflows, like that of a parent and its copy."""
        record = self.record(draw, draw.choice(FAILURES))
        for workflow in draw.sample(WORKFLOWS, 2):
            self._list(workflow, record)

    def add_invalid_record(self, draw: Random) -> None:
        """Add a record that cannot be decoded, and stays listed."""
        record = self.record(draw, "success")
        broken = b'{"executionId": "broken", "startedAt": "%b", "results": [}' % record["startedAt"].encode()
        self.api.add("w-2", record, raw=broken)

    def record(self, draw: Random, outcome: Outcome) -> dict[str, Any]:
        started = self.api.now() - timedelta(seconds=draw.uniform(0, 90))
        run = Running(self._id(draw), "", started, draw.choice(VARIANTS), listed=False)
        return self._stopped_record(draw, run, outcome)

    def newer(self, draw: Random) -> Callable[[], dict[str, Any]]:
        """Return a source of new records for listings that shift while they are read."""

        def record() -> dict[str, Any]:
            fresh = self.record(draw, draw.choice(["success", *FAILURES]))
            self._save_if_failed(fresh)
            return fresh

        return record

    def _stopped_record(self, draw: Random, run: Running, outcome: Outcome) -> dict[str, Any]:
        record = execution(
            outcome, id=run.id, started=run.started, stopped=self.api.now(), variant=run.variant, payload=secrets(draw)
        )
        if isinstance(record.get("error"), str):
            record["error"] = ERROR_TEXT
        elif isinstance(record.get("error"), dict):
            record["error"] = {
                **record["error"],
                "message": ERROR_TEXT,
                "stack": f"Error: {ERROR_TEXT}\n    at hook.js:1:1",
            }
        return record

    def _list(self, workflow: str, record: dict[str, Any]) -> None:
        self._save_if_failed(record)
        self.api.add(workflow, record, user_id=USERS.get(workflow))

    def _save_if_failed(self, record: dict[str, Any]) -> None:
        if is_failed_record(record):
            self.failed.add(record["executionId"])

    def _id(self, draw: Random) -> str:
        return draw.choice(["{:06x}-ef", "H4uUaCEjkA8Awi4xiNk-{}", "63b0{:020x}", "ü/{} #"]).format(next(self._numbers))


def secrets(draw: Random) -> dict[str, Any]:
    """Return a webhook's output with a secret in every place and form that is redacted."""
    payload = customer_order(str(draw.randrange(10**6)))
    payload["headers"] |= {
        "Authorization": f"Basic {CANARY}QWxhZGRpbjpvcGVu",
        "X-Api-Key": f"{CANARY}-header",
        "Set-Cookie": f"session={CANARY}-cookie",
    }
    payload["body"] |= {
        "password": f"{CANARY}-password",
        "client_secret": f"{CANARY}-client",
        "nested": [{"accessToken": {"value": f"{CANARY}-token"}}],
        "note": ERROR_TEXT,
    }
    if draw.random() < 0.02:
        payload["body"]["attachment"] = "0123456789abcdef" * draw.randrange(1_000, 40_000)
    return payload
