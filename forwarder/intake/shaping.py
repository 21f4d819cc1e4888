"""From a failed execution to the entry owed for it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Self

import msgspec
import structlog

from forwarder import __version__
from forwarder.alloy.mend import mend
from forwarder.event.size import detail_room
from forwarder.event.trim import Detail, fit, is_failed_block
from forwarder.intake.selection import FAILURE_MESSAGE
from forwarder.model import Entry, Execution, Feed
from forwarder.redaction import Redactor
from forwarder.settings import Settings

log = structlog.get_logger("intake")

DETAIL_VERSION = "1"

_MILLISECOND = timedelta(milliseconds=1)

_MESSAGE_KEYS = ("message", "description", "reason", "detail", "error")


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
        results = _decoded(execution.results)
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
            "forwarder": {"version": __version__, "observedAt": _observed_at(now)},
        }
        return Entry(execution.id, feed, time=stop or start or now, detail=fit(detail, self.room))

    def _results(self, results: Any) -> Detail:
        match self.payload:
            case "full" if results is not None:
                return {"results": self.redactor.tree(results)}
            case "errors":
                failed = [
                    {key: value for key, value in block.items() if key != "data"}
                    for block in _blocks(results)
                    if is_failed_block(block)
                ]
                return {"results": self.redactor.tree(failed)}
            case _:
                return {}


def ended_at(execution: Execution, now: datetime) -> datetime:
    """When it stopped, as well as it is known."""
    return execution.stop or execution.start or now


def _decoded(raw: msgspec.Raw) -> Any:
    body = bytes(raw)
    if not body:
        return None
    for form in (bytes, mend):
        try:
            return msgspec.json.decode(form(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return "[not decodable]"


def _blocks(results: Any) -> list[Any]:
    if isinstance(results, dict):
        return list(results.values())
    return results if isinstance(results, list) else []


def error_of(execution: Execution) -> Detail:
    """What `shape` tells of the error, before redaction."""
    return _error(execution, _decoded(execution.results))


def _error(execution: Execution, results: Any) -> Detail:
    """Message, name, code and stack of the error that is told first, and the block it happened in."""
    failed = next((block for block in _blocks(results) if is_failed_block(block)), None)
    told = _decoded(execution.error) or (failed["error"] if failed else None)
    block_id = _block_id(failed) or _block_id(told)
    if told:
        parts = _parts(told)
    elif execution.message and execution.message != FAILURE_MESSAGE:
        parts = {"message": execution.message}
    else:
        parts = {"message": _without_error(execution)}
    return {**parts, **({"blockId": str(block_id)} if block_id else {})}


def _block_id(told: Any) -> Any:
    return (told.get("blockId") or told.get("connectorId")) if isinstance(told, dict) else None


def _parts(told: Any) -> Detail:
    """An error as the API tells it: a text, or an object that may wrap another."""
    if isinstance(told, str):
        return {"message": told}
    if not isinstance(told, dict):
        return {"message": _as_text(told)}
    message = next((told[key] for key in _MESSAGE_KEYS if told.get(key)), None)
    inner = (
        _parts(message) if isinstance(message, dict) else {"message": _as_text(told if message is None else message)}
    )
    own = {key: _as_text(told[key]) for key in ("name", "code", "stack") if told.get(key) not in (None, "")}
    return {**inner, **own}


def _without_error(execution: Execution) -> str:
    status = f"status {execution.status}" if execution.status else "no status"
    return f"the execution failed without an error message ({status})"


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _rfc3339(time: datetime | None) -> str | None:
    """`time` is in UTC: what ends it is `+00:00`."""
    return None if time is None else f"{time.isoformat(timespec='milliseconds')[:-6]}Z"


@lru_cache(maxsize=1)
def _observed_at(now: datetime) -> str | None:
    """The same for all of a page."""
    return _rfc3339(now)
