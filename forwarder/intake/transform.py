"""The transformation of failed executions into the entries that are recorded."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol, Self

import msgspec
import structlog

from forwarder import __version__
from forwarder.alloy.json_tree import decode_tree, is_truncated
from forwarder.event.block_errors import failed_blocks, is_set
from forwarder.event.idempotency import idempotency_key
from forwarder.event.truncate import Detail, fit, max_detail_bytes
from forwarder.intake.classify import FAILURE_MESSAGE
from forwarder.intake.error_details import block_name, error_fields
from forwarder.model import Entry, Execution, Feed
from forwarder.redaction import Redactor
from forwarder.settings import Settings
from forwarder.time_format import rfc3339

log = structlog.get_logger("intake")

DETAIL_VERSION = "1"

_MILLISECOND = timedelta(milliseconds=1)

_PAYLOAD_KEYS = ("data", "json", "binary")

MAX_PORTION_BYTES = 16_384
"""Bytes of results that are transformed in one turn of the event loop, for all feeds together."""

MIN_THREAD_RESULT_BYTES = 100_000
"""Bytes of results above which an execution is transformed in a thread."""

EXECUTION_OVERHEAD_BYTES = 512
"""The number of bytes of results that take as long to transform as all other parts of an execution."""


class EntryBuilder(Protocol):
    """A builder of entries. `EventBuilder` is the real one."""

    def build_or_minimal(self, execution: Execution, feed: Feed, now: datetime) -> Entry: ...


class TransformQueue:
    """A queue of all feeds, from which one portion is transformed in each turn of the event loop.

    Transformation is the work that blocks the event loop longest, and a storm brings pages of many feeds at once.
    Other tasks run between two portions.
    """

    def __init__(self, builder: EntryBuilder) -> None:
        self._builder = builder
        self._lock = asyncio.Lock()

    async def build_all(self, executions: Sequence[Execution], feed: Feed, now: datetime) -> list[Entry]:
        """Return the entries, in the order of their executions."""
        entries: list[Entry] = []
        for portion in _portions(executions):
            # Only the largest get a thread: two threads that compute alternate every few milliseconds, and the
            # ledger's thread would wait that long between two of its own steps.
            if len(portion[0].results) > MIN_THREAD_RESULT_BYTES:
                entries.append(await asyncio.to_thread(self._builder.build_or_minimal, portion[0], feed, now))
                continue
            async with self._lock:
                entries += [self._builder.build_or_minimal(execution, feed, now) for execution in portion]
                # The lock is held until the loop has turned. Otherwise each feed would transform a portion first.
                await asyncio.sleep(0)
        return entries


def _portions(executions: Sequence[Execution]) -> Iterator[list[Execution]]:
    """Yield portions of at most MAX_PORTION_BYTES. A larger execution is a portion of its own."""
    portion: list[Execution] = []
    remaining_bytes = MAX_PORTION_BYTES
    for execution in executions:
        size = EXECUTION_OVERHEAD_BYTES + len(execution.results)
        if portion and size > remaining_bytes:
            yield portion
            portion, remaining_bytes = [], MAX_PORTION_BYTES
        portion.append(execution)
        remaining_bytes -= size
    if portion:
        yield portion


@dataclass(frozen=True, slots=True)
class EventBuilder:
    """A builder of entries for one set of settings. `payload` is the setting of that name.

    A detail is truncated to `max_detail_bytes`, unless its whole payload is stored elsewhere (`is_whole`).
    """

    redactor: Redactor
    payload: str
    max_detail_bytes: int
    is_whole: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        event = settings.event
        return cls(
            redactor=Redactor(event.redact, event.redact_except),
            payload=event.payload,
            max_detail_bytes=max_detail_bytes(event.source, event.detail_type, settings.destination.max_entry_bytes),
            is_whole=event.oversize == "s3",
        )

    def build_or_minimal(self, execution: Execution, feed: Feed, now: datetime) -> Entry:
        """Return the entry that `build` returns. If `build` raises, return a minimal entry.

        A minimal entry has the id, the times and a default message.
        """
        try:
            return self.build(execution, feed, now)
        except Exception as error:
            log.exception("event build failed", execution_id=execution.id, exception_type=type(error).__name__)
            bare = Execution(id=execution.id, started_at=execution.started_at, stopped_at=execution.stop)
            return self.build(bare, feed, now)

    def build(self, execution: Execution, feed: Feed, now: datetime) -> Entry:
        """Return the entry of an execution: redacted, and truncated to `max_detail_bytes` unless `is_whole` is set."""
        results = decode_tree(execution.results)
        start, stop = execution.start, execution.stop
        detail: Detail = {
            "version": DETAIL_VERSION,
            "executionId": execution.id,
            "workflowId": feed.workflow_id,
            **({"userId": feed.user_id} if feed.user_id else {}),
            "status": self.redactor.tree(execution.status),
            "startedAt": rfc3339(start) if start else None,
            "stoppedAt": rfc3339(stop) if stop else None,
            "durationMs": max(0, (stop - start) // _MILLISECOND) if start and stop else None,
            "error": self.redactor.tree(_build_error(execution, results)),
            **self._results(results),
            **_large_values_mark(execution),
            "forwarder": {
                "version": __version__,
                "observedAt": _observed_at(now),
                "idempotencyKey": idempotency_key(execution.id, send_number=1),
            },
        }
        encoded = msgspec.json.encode(detail) if self.is_whole else fit(detail, self.max_detail_bytes)
        return Entry(execution.id, feed, time=stop or start or now, detail=encoded)

    def _results(self, results: Any) -> Detail:
        match self.payload:
            case "full" if results is not None:
                return {"results": self.redactor.tree(results)}
            case "errors":
                failed = [
                    {
                        **({"blockId": each.name} if each.name and not block_name(each.block) else {}),
                        **{key: value for key, value in each.block.items() if key not in _PAYLOAD_KEYS},
                    }
                    for each in failed_blocks(results)
                ]
                return {"results": self.redactor.tree(failed)}
            case _:
                return {}


def _large_values_mark(execution: Execution) -> Detail:
    """Return the mark of an event in which large values were replaced by their length before decoding."""
    if not (is_truncated(execution.results) or is_truncated(execution.error)):
        return {}
    size = len(execution.results) + len(execution.error)
    return {"trimmed": {"shed": [], "originalBytes": size, "largeValues": True}}


def ended_at(execution: Execution, now: datetime) -> datetime:
    """Return the stop, or the best estimate of it: the start, or `now`."""
    return execution.stop or execution.start or now


def unredacted_error(execution: Execution) -> Detail:
    """Return the error that `build` puts into the event, before redaction."""
    return _build_error(execution, decode_tree(execution.results))


def _build_error(execution: Execution, results: Any) -> Detail:
    """Return the parts of the first error, and the block in which it happened."""
    failed = next(failed_blocks(results), None)
    own_error = decode_tree(execution.error)
    error = own_error if is_set(own_error) else failed.error if failed else None
    if is_set(error):
        fields = error_fields(error)
    elif execution.message and execution.message != FAILURE_MESSAGE:
        fields = {"message": execution.message}
    else:
        fields = {"message": _default_message(execution)}
    fields["message"] = fields["message"] or _default_message(execution)
    block = (failed.name if failed else None) or block_name(error)
    return {**fields, **({"blockId": block} if block else {})}


def _default_message(execution: Execution) -> str:
    status = f"status {execution.status}" if execution.status else "no status"
    return f"the execution failed without an error message ({status})"


@lru_cache(maxsize=1)
def _observed_at(now: datetime) -> str:
    """Return the formatted time, which all executions of a page share."""
    return rfc3339(now)
