"""What happens at Alloy's: executions that start, succeed, fail, fail late, and carry secrets."""

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
"""Part of every secret planted in a payload, in a key or in the settings: it must turn up nowhere."""

TOLD: Final = (
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
    """`failed` is the truth: every execution that failed, whether it was ever listed or not."""

    api: DocumentedAlloyApi
    failed: set[str] = field(default_factory=set)
    running: list[Running] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        for workflow in WORKFLOWS:
            self.api.add_workflow(workflow)

    def fail(self, draw: Random, count: int = 1, workflow: str = "") -> None:
        for _ in range(count):
            place = workflow or draw.choice(WORKFLOWS)
            self._list(place, self.record(draw, draw.choice(FAILURES)))

    def succeed(self, draw: Random, count: int = 1) -> None:
        for _ in range(count):
            self._list(draw.choice(WORKFLOWS), self.record(draw, "success"))

    def start(self, draw: Random, *, listed: bool = True, ago: timedelta = timedelta()) -> None:
        """A run that goes on; one that is not listed shows only when it is over."""
        started = self.api.now() - ago
        run = Running(self._id(draw), draw.choice(WORKFLOWS), started, draw.choice(VARIANTS), listed)
        self.running.append(run)
        if listed:
            record = execution("running", id=run.id, started=started, variant=run.variant, payload={})
            self._list(run.workflow, record)

    def finish(self, draw: Random) -> None:
        """The end of a run, well or badly; nothing where none goes on."""
        if not self.running:
            return
        run = self.running.pop(draw.randrange(len(self.running)))
        record = self._ended(draw, run, draw.choice(["success", *FAILURES]))
        if run.listed:
            self._note(record)
            self.api.update(run.id, **{"status": None, "finished": None, **record})
        else:
            self._list(run.workflow, record)

    def fail_a_day_late(self, draw: Random) -> None:
        """It started almost a day ago, was never listed, and has just failed."""
        started = self.api.now() - timedelta(hours=draw.uniform(1, 22))
        run = Running(self._id(draw), draw.choice(WORKFLOWS), started, draw.choice(VARIANTS), listed=False)
        self._list(run.workflow, self._ended(draw, run, draw.choice(FAILURES)))

    def fail_twice(self, draw: Random) -> None:
        """One failure under two workflows, as of a parent and its copy."""
        record = self.record(draw, draw.choice(FAILURES))
        for workflow in draw.sample(WORKFLOWS, 2):
            self._list(workflow, record)

    def spoil_a_record(self, draw: Random) -> None:
        """A record that nobody can decode, for ever in the log."""
        record = self.record(draw, "success")
        broken = b'{"executionId": "broken", "startedAt": "%b", "results": [}' % record["startedAt"].encode()
        self.api.add("w-2", record, raw=broken)

    def record(self, draw: Random, outcome: Outcome) -> dict[str, Any]:
        started = self.api.now() - timedelta(seconds=draw.uniform(0, 90))
        run = Running(self._id(draw), "", started, draw.choice(VARIANTS), listed=False)
        return self._ended(draw, run, outcome)

    def newer(self, draw: Random) -> Callable[[], dict[str, Any]]:
        """For listings that shift while they are read."""

        def record() -> dict[str, Any]:
            fresh = self.record(draw, draw.choice(["success", *FAILURES]))
            self._note(fresh)
            return fresh

        return record

    def _ended(self, draw: Random, run: Running, outcome: Outcome) -> dict[str, Any]:
        record = execution(
            outcome, id=run.id, started=run.started, stopped=self.api.now(), variant=run.variant, payload=secrets(draw)
        )
        if isinstance(record.get("error"), str):
            record["error"] = TOLD
        elif isinstance(record.get("error"), dict):
            record["error"] = {**record["error"], "message": TOLD, "stack": f"Error: {TOLD}\n    at hook.js:1:1"}
        return record

    def _list(self, workflow: str, record: dict[str, Any]) -> None:
        self._note(record)
        self.api.add(workflow, record, user_id=USERS.get(workflow))

    def _note(self, record: dict[str, Any]) -> None:
        if is_failed_record(record):
            self.failed.add(record["executionId"])

    def _id(self, draw: Random) -> str:
        return draw.choice(["{:06x}-ef", "H4uUaCEjkA8Awi4xiNk-{}", "63b0{:020x}", "ü/{} #"]).format(next(self._numbers))


def secrets(draw: Random) -> dict[str, Any]:
    """A webhook's output with a secret in every place and shape that is known to be redacted."""
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
        "note": TOLD,
    }
    if draw.random() < 0.02:
        payload["body"]["attachment"] = "0123456789abcdef" * draw.randrange(1_000, 40_000)
    return payload
