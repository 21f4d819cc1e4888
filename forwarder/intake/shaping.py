"""From a failed execution to the entry owed for it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Self

import structlog

from forwarder import __version__
from forwarder.alloy.json_tree import decode_tree, is_cut
from forwarder.event.block_errors import failed_blocks, is_set
from forwarder.event.size import detail_room
from forwarder.event.trim import Detail, fit
from forwarder.intake.error_details import block_name, error_parts
from forwarder.intake.selection import FAILURE_MESSAGE
from forwarder.model import Entry, Execution, Feed
from forwarder.redaction import Redactor
from forwarder.settings import Settings

log = structlog.get_logger("intake")

DETAIL_VERSION = "1"

_MILLISECOND = timedelta(milliseconds=1)

_PAYLOAD_KEYS = ("data", "json", "binary")


@dataclass(frozen=True, slots=True)
class Shaper:
    """`payload` is the setting of that name, `room` how many bytes a detail may take."""

    redactor: Redactor
    payload: str
    room: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        event = settings.event
        return cls(
            redactor=Redactor(event.redact, event.reveal),
            payload=event.payload,
            room=detail_room(event.source, event.detail_type, settings.destination.max_entry_bytes),
        )

    def shape_anything(self, execution: Execution, feed: Feed, now: datetime) -> Entry:
        """As `shape`; where that fails by a fault of ours, an entry that tells of the failure and little more."""
        try:
            return self.shape(execution, feed, now)
        except Exception as error:
            log.exception("execution could not be shaped", execution_id=execution.id, kind=type(error).__name__)
            bare = Execution(id=execution.id, started_at=execution.started_at, stopped_at=execution.stop)
            return self.shape(bare, feed, now)

    def shape(self, execution: Execution, feed: Feed, now: datetime) -> Entry:
        results = decode_tree(execution.results)
        start, stop = execution.start, execution.stop
        detail: Detail = {
            "version": DETAIL_VERSION,
            "executionId": execution.id,
            "workflowId": feed.workflow_id,
            **({"userId": feed.user_id} if feed.user_id else {}),
            "status": self.redactor.tree(execution.status),
            "startedAt": _rfc3339(start),
            "stoppedAt": _rfc3339(stop),
            "durationMs": max(0, (stop - start) // _MILLISECOND) if start and stop else None,
            "error": self.redactor.tree(_error(execution, results)),
            **self._results(results),
            **_cut(execution),
            "forwarder": {"version": __version__, "observedAt": _observed_at(now)},
        }
        return Entry(execution.id, feed, time=stop or start or now, detail=fit(detail, self.room))

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


def _cut(execution: Execution) -> Detail:
    """Say that values were replaced by their length: the rest of the event may then fit."""
    if not (is_cut(execution.results) or is_cut(execution.error)):
        return {}
    size = len(execution.results) + len(execution.error)
    return {"trimmed": {"shed": [], "originalBytes": size, "largeValues": True}}


def ended_at(execution: Execution, now: datetime) -> datetime:
    """When it stopped, as well as it is known."""
    return execution.stop or execution.start or now


def error_of(execution: Execution) -> Detail:
    """What `shape` tells of the error, before redaction."""
    return _error(execution, decode_tree(execution.results))


def _error(execution: Execution, results: Any) -> Detail:
    """Return the parts of the error that stands first, and the block in which it happened."""
    failed = next(failed_blocks(results), None)
    own = decode_tree(execution.error)
    error = own if is_set(own) else failed.error if failed else None
    if is_set(error):
        parts = error_parts(error)
    elif execution.message and execution.message != FAILURE_MESSAGE:
        parts = {"message": execution.message}
    else:
        parts = {"message": _without_error(execution)}
    parts["message"] = parts["message"] or _without_error(execution)
    block = (failed.name if failed else None) or block_name(error)
    return {**parts, **({"blockId": block} if block else {})}


def _without_error(execution: Execution) -> str:
    status = f"status {execution.status}" if execution.status else "no status"
    return f"the execution failed without an error message ({status})"


def _rfc3339(time: datetime | None) -> str | None:
    """`time` is in UTC: what ends it is `+00:00`."""
    return None if time is None else f"{time.isoformat(timespec='milliseconds')[:-6]}Z"


@lru_cache(maxsize=1)
def _observed_at(now: datetime) -> str | None:
    """The same for all of a page."""
    return _rfc3339(now)
