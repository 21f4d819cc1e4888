"""The workload of the demo: it creates executions in the fake API, and records which of them failed."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any

from forwarder.demo.fake_alloy import FakeAlloyApi
from forwarder.demo.sample_data import (
    FAILURES,
    VARIANTS,
    Failure,
    Outcome,
    Variant,
    customer_order,
    execution,
    product_page_record,
)
from forwarder.time_format import rfc3339

BUSY_WORKFLOW = "sync-orders"
COPIED_WORKFLOW = "sync-orders-acme"
SAMPLE_WORKFLOW = "managing-errors"
USER_WORKFLOW, USER_ID = "update-contacts", "user-42"
VARIANT_WORKFLOWS: dict[Variant, str] = {
    "product-page": "issue-refunds",
    "2024-03": "book-shipments",
    "2025-09": "count-stock",
}
WORKFLOWS = (BUSY_WORKFLOW, COPIED_WORKFLOW, *VARIANT_WORKFLOWS.values(), USER_WORKFLOW, SAMPLE_WORKFLOW)

_WORKFLOW_VARIANTS = {workflow: variant for variant, workflow in VARIANT_WORKFLOWS.items()}
_BUSY_RUN_COUNT = 100
_BUSY_RUN_INTERVAL = timedelta(seconds=30)
_RUN_DURATION = timedelta(milliseconds=420)
_LONG_RUN_DURATION = timedelta(minutes=47)
_FAILURES_WITH_MESSAGE: tuple[Failure, ...] = ("failed-error-object", "failed-error-string", "failed-block")
_MESSAGES = (
    "the warehouse does not know sku TEA-001",
    "the shop's API answered 503, twenty times in a row",
    "customer 8817 does not exist",
    "connect ETIMEDOUT erp.example:443",
    "the order was refunded already",
    "Unexpected token < in JSON at position 0",
    "the carrier refuses parcels above 31.5 kg",
)


@dataclass(slots=True)
class Workload:
    """A generator of executions. `listed` and `failed` are the ids so far. `secret` is planted in each execution."""

    api: FakeAlloyApi
    listed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    secret: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    _failures: Iterator[Failure] = field(default_factory=lambda: cycle(FAILURES), init=False, repr=False)
    _failures_with_message: Iterator[Failure] = field(
        default_factory=lambda: cycle(_FAILURES_WITH_MESSAGE), init=False, repr=False
    )
    _messages: Iterator[str] = field(default_factory=lambda: cycle(_MESSAGES), init=False, repr=False)

    def create_history(self) -> str:
        """Add past executions to every workflow. Return the id of a running execution, for `fail_running`."""
        now = self.api.now()
        self._sample()
        for workflow, runs in ((BUSY_WORKFLOW, _BUSY_RUN_COUNT), (USER_WORKFLOW, 3)):
            for number in range(runs):
                outcome: Outcome = next(self._failures) if number % 8 == 1 else "success"
                self._add(workflow, outcome, at=now - number * _BUSY_RUN_INTERVAL)
        for workflow in VARIANT_WORKFLOWS.values():
            for number, form in enumerate(FAILURES):
                self._add(workflow, form, at=now - number * _BUSY_RUN_INTERVAL)
                self._add(workflow, "success", at=now - number * _BUSY_RUN_INTERVAL)
            self._add(workflow, "running", at=now)
        # A workflow and its copy list the same execution. One failure is one event.
        self._add(COPIED_WORKFLOW, "success", at=now)
        self._add(COPIED_WORKFLOW, next(self._failures), at=now, also=BUSY_WORKFLOW)
        return self._add(BUSY_WORKFLOW, "running", at=now - _LONG_RUN_DURATION)

    def fail(self, workflow: str, message: str = "") -> str:
        """Add a failed execution with an error message at the top of a workflow. Return its id."""
        return self._add(workflow, next(self._failures_with_message), message=message)

    def fail_running(self, execution_id: str) -> None:
        self.failed.add(execution_id)
        stop, error = rfc3339(self.api.now()), {"message": "no answer for 47 minutes"}
        self.api.update(execution_id, stoppedAt=stop, error=error)

    def _sample(self) -> None:
        """Add the successful execution of the product page's sample. Its workflow returns that sample byte for byte."""
        raw = product_page_record()
        record = json.loads(raw)
        self.listed.add(record["executionId"])
        self.api.add(SAMPLE_WORKFLOW, record, raw=raw)

    def _add(
        self,
        workflow: str,
        outcome: Outcome,
        *,
        message: str = "",
        at: datetime | None = None,
        also: str | None = None,
    ) -> str:
        variant = _WORKFLOW_VARIANTS.get(workflow, "2024-03")
        execution_id = _new_id(variant)
        stopped = at or self.api.now()
        record = execution(
            outcome,
            id=execution_id,
            started=stopped - _RUN_DURATION,
            stopped=stopped,
            variant=variant,
            payload=self._order(execution_id),
        )
        _set_message(record, message or next(self._messages))
        # The ids are recorded first, because the forwarder may be faster than this thread.
        self.listed.add(execution_id)
        if outcome in FAILURES:
            self.failed.add(execution_id)
        for name in filter(None, (workflow, also)):
            self.api.add(name, record, user_id=USER_ID if name == USER_WORKFLOW else None)
        return execution_id

    def _order(self, execution_id: str) -> dict[str, Any]:
        order = customer_order(execution_id)
        order["headers"]["authorization"] = f"Bearer {self.secret}"
        order["params"]["callback"] = f"https://shop.example/hook?api_key={self.secret}"
        return order


def _set_message(record: dict[str, Any], message: str) -> None:
    """Set the message in each error of the record."""
    for holder in (record, *record["results"]):
        match holder.get("error"):
            case dict() as error:
                error["message"] = message
            case str():
                holder["error"] = message


def _new_id(variant: Variant) -> str:
    """Return an id in the documented format of that variant."""
    match VARIANTS.index(variant):
        case 0:
            return f"{secrets.token_hex(10)}-{secrets.token_hex(1)}"
        case 1:
            return secrets.token_hex(12)
        case _:
            return secrets.token_urlsafe(16)[:21]
