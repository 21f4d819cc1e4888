"""The faults of a table, and the plans by which a proxy chooses them."""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

BATCH_GET = "BatchGetItem"


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the client. The first of a proxy has the number 1."""

    number: int
    operation: str
    body: bytes

    @property
    def values(self) -> Any:
        return json.loads(self.body)

    def writes(self, partition: str) -> bool:
        """Return whether this writes an item of a partition whose key begins with a text."""
        if self.operation not in ("PutItem", "UpdateItem", "DeleteItem"):
            return False
        values = self.values
        key: str = values.get("Item", values.get("Key"))["p"]["S"]
        return key.startswith(partition)


@dataclass(frozen=True, slots=True)
class Fault:
    """The treatment of a request. The default executes it and returns its reply."""

    refusal: tuple[int, str] | None = None
    """The status and the code with which the request is refused. It is not executed."""
    page: tuple[int, bytes] | None = None
    """The status and the body with which an intermediary responds. The request is not executed."""
    loses_request: bool = False
    loses_reply: bool = False
    is_partial: bool = False
    """A BatchGetItem returns only the first half of the items, and the other keys as unprocessed."""
    date: datetime | None = None
    """The Date of the response, instead of the present."""
    delay_seconds: float = 0.0
    waits_for: asyncio.Event | None = None


PASS = Fault()
LOSE_REQUEST = Fault(loses_request=True)
LOSE_REPLY = Fault(loses_reply=True)
PARTIAL = Fault(is_partial=True)

Plan = Callable[[Request], Fault]


def refuse(code: str, status: int = 400) -> Fault:
    return Fault(refusal=(status, code))


def intercept(status: int, body: bytes) -> Fault:
    return Fault(page=(status, body))


THROTTLED = refuse("ProvisionedThroughputExceededException")
BUSY = refuse("ThrottlingException")
FAILED = refuse("InternalServerError", 500)
EXPIRED = refuse("ExpiredTokenException")
DENIED = refuse("AccessDeniedException")
MISSING = refuse("ResourceNotFoundException")


def always(fault: Fault) -> Plan:
    return lambda _: fault


execute = always(PASS)


def seeded(seed: int, rates: Sequence[tuple[float, Fault]]) -> Plan:
    """Return a plan with these faults at random, each with its probability."""
    numbers = random.Random(seed)  # noqa: S311  # a plan protects no secret

    def choose(_: Request) -> Fault:
        drawn = numbers.random()
        for rate, fault in rates:
            drawn -= rate
            if drawn < 0:
                return fault
        return PASS

    return choose


class Hold:
    """A plan that holds the first request that matches until `release`. `reached` is set when the request arrives."""

    def __init__(self, matches: Callable[[Request], bool]) -> None:
        self.reached = asyncio.Event()
        self._matches = matches
        self._released = asyncio.Event()

    def release(self) -> None:
        self._released.set()

    def __call__(self, request: Request) -> Fault:
        if self.reached.is_set() or not self._matches(request):
            return PASS
        self.reached.set()
        return Fault(waits_for=self._released)
