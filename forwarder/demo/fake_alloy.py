"""A fake of Alloy Embedded's API as publicly documented. It has no socket: the demo and the tests have servers.

Details that the documentation leaves open are parameters: the path segments, the number of the first page, and the
field by which executions are sorted.
"""

from __future__ import annotations

import json
import threading
from bisect import insort
from dataclasses import dataclass, field
from email.utils import format_datetime
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from forwarder.demo.sample_data import is_failed_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 30
PATH_SEGMENTS: Final = frozenset({"workflow", "workflows"})


@dataclass(frozen=True)
class ApiResponse:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Listed:
    """An execution in the logs of one workflow."""

    record: dict[str, Any]
    user_id: str | None
    body: bytes
    order: tuple[str, int]


_OLDEST_FIRST: Final = attrgetter("order")


class _RequestRefused(Exception):
    def __init__(self, status: int, content: dict[str, Any]) -> None:
        super().__init__(status)
        self.reply = ApiResponse(status, json.dumps(content).encode())


class FakeAlloyApi:
    """A fake of the logs API and its neighbouring endpoints, for one API key. Threads may share it."""

    def __init__(
        self,
        *,
        api_key: str,
        now: Callable[[], datetime],
        version: str = "2024-03",
        path_segments: frozenset[str] = PATH_SEGMENTS,
        page_base: int = 0,
        sorted_by: str = "startedAt",
    ) -> None:
        self.api_key, self.now, self.version = api_key, now, version
        self.path_segments, self.page_base, self.sorted_by = path_segments, page_base, sorted_by
        self.reruns: list[tuple[str, str]] = []  # (workflow id, execution id)
        self._workflows: dict[str, list[_Listed]] = {}  # oldest first
        self._listed_ids: set[str] = set()
        self._added = 0
        self._lock = threading.RLock()

    @property
    def listed_ids(self) -> frozenset[str]:
        """Return the ids of all executions that any page listed as failed. A forwarder has to publish exactly these."""
        with self._lock:
            return frozenset(self._listed_ids)

    def add_workflow(self, workflow_id: str) -> None:
        """Add a workflow without executions."""
        with self._lock:
            self._workflows.setdefault(workflow_id, [])

    def remove_workflow(self, workflow_id: str) -> None:
        with self._lock:
            self._workflows.pop(workflow_id, None)

    def add(
        self,
        workflow_id: str,
        record: dict[str, Any],
        *,
        user_id: str | None = None,
        raw: bytes | None = None,
    ) -> None:
        """List one more execution, above those of the same time. `raw` replaces the record in responses."""
        with self._lock:
            self._added += 1
            body = _json(record) if raw is None else raw
            listed = _Listed(record, user_id, body, self._order(record, self._added))
            insort(self._workflows.setdefault(workflow_id, []), listed, key=_OLDEST_FIRST)

    def update(self, execution_id: str, **fields: object) -> None:
        """Change an execution in all workflows that list it, for example from running to failed."""
        with self._lock:
            for runs in self._workflows.values():
                for run in runs:
                    if run.record.get("executionId") == execution_id:
                        run.record = run.record | fields
                        run.body, run.order = _json(run.record), self._order(run.record, run.order[1])
                runs.sort(key=_OLDEST_FIRST)

    def answer(self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> ApiResponse:
        """Return the response to a request. `path` is the encoded path of the request line."""
        with self._lock:
            try:
                self._authorise(headers)
                reply = self._route(method, self._segments(path), query)
            except _RequestRefused as refusal:
                reply = refusal.reply
            date = format_datetime(self.now(), usegmt=True)
            return ApiResponse(reply.status, reply.body, {"Content-Type": "application/json", "Date": date})

    def _authorise(self, headers: Mapping[str, str]) -> None:
        header = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer" or key.strip() != self.api_key:
            raise _RequestRefused(401, {"message": "Unauthorized"})

    def _segments(self, path: str) -> list[str]:
        segments = [unquote(segment) for segment in path.removesuffix("/").split("/")[1:]]
        if self.version and segments[:1] != [self.version]:
            raise _not_found()
        return segments[1:] if self.version else segments

    def _route(self, method: str, segments: list[str], query: Mapping[str, str]) -> ApiResponse:
        match method, segments:
            case "GET", [segment, workflow_id, "logs"] if segment in self.path_segments:
                return self._logs(self._runs(workflow_id), query)
            case "GET", ["users"]:
                return _data(_users(chain.from_iterable(self._workflows.values())))
            case "GET", ["workflows"]:
                return self._listing(query.get("userId", ""))
            case "GET", ["workflows", workflow_id, "users"]:
                return self._installations(workflow_id)
            case "GET", ["workflows", workflow_id, "errors"]:
                return self._errors(workflow_id, query.get("userId"))
            case "POST", ["workflows", workflow_id, "rerun", execution_id]:
                return self._rerun(workflow_id, execution_id)
        raise _not_found()

    def _logs(self, runs: list[_Listed], query: Mapping[str, str]) -> ApiResponse:
        page = _number(query, "page", self.page_base, self.page_base) - self.page_base
        limit = _number(query, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        if (order := query.get("order", "desc")) not in {"asc", "desc"}:
            raise _RequestRefused(400, {})
        if user_id := query.get("userId"):
            runs = [run for run in runs if run.user_id == user_id]
        first, last = page * limit, (page + 1) * limit
        listed = (runs if order == "asc" else runs[::-1])[first:last]
        failed = (run.record for run in listed if is_failed_record(run.record))
        self._listed_ids |= {record["executionId"] for record in failed if "executionId" in record}
        if not listed:
            return _data([])
        # The layout of the sample, so that a page with only the sample's execution equals the sample byte for byte.
        joined = b",\n    ".join(run.body for run in listed)
        return ApiResponse(200, b'{\n  "data": [\n    ' + joined + b"\n  ]\n}")

    def _listing(self, user_id: str) -> ApiResponse:
        if not user_id:
            raise _RequestRefused(400, {})
        return _data(
            [
                {
                    "workflowId": workflow_id,
                    "integrationId": f"integration-of-{workflow_id}",
                    "name": f"Workflow {workflow_id}",
                    "active": True,
                    "installed": user_id in {run.user_id for run in runs},
                    "version": 1,
                    "blocks": [],
                }
                for workflow_id, runs in self._workflows.items()
            ]
        )

    def _installations(self, workflow_id: str) -> ApiResponse:
        if not (users := _users(self._runs(workflow_id))):
            raise _not_found()
        return _data([user | {"workflowActive": True} for user in users])

    def _errors(self, workflow_id: str, user_id: str | None) -> ApiResponse:
        return _data(
            [
                {
                    "workflowId": workflow_id,
                    "block": "Webhook",
                    "errorOccurredAt": run.record.get("stoppedAt") or run.record.get("completedAt"),
                    "message": "Request failed",
                }
                for run in reversed(self._runs(workflow_id))
                if is_failed_record(run.record) and user_id in {None, run.user_id}
            ]
        )

    def _rerun(self, workflow_id: str, execution_id: str) -> ApiResponse:
        if execution_id not in {run.record.get("executionId") for run in self._runs(workflow_id)}:
            raise _not_found()
        self.reruns.append((workflow_id, execution_id))
        return ApiResponse(200, _json({"message": "success", "executionUuid": f"37e974f0-{len(self.reruns):08x}"}))

    def _runs(self, workflow_id: str) -> list[_Listed]:
        if workflow_id not in self._workflows:
            raise _not_found()
        return self._workflows[workflow_id]

    def _order(self, record: dict[str, Any], added: int) -> tuple[str, int]:
        return str(record.get(self.sorted_by, "")), added


def _number(query: Mapping[str, str], name: str, default: int, minimum: int, maximum: int = 2**31) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or not minimum <= int(text) <= maximum:
        raise _RequestRefused(400, {})
    return int(text)


def _users(runs: Iterable[_Listed]) -> list[dict[str, Any]]:
    ids = dict.fromkeys(run.user_id for run in runs if run.user_id is not None)
    return [{"userId": user_id, "username": user_id, "fullName": f"User {user_id}"} for user_id in ids]


def _data(rows: list[dict[str, Any]]) -> ApiResponse:
    return ApiResponse(200, _json({"data": rows}))


def _json(content: dict[str, Any]) -> bytes:
    # The same as JSON.stringify: UTF-8, and an escape for half a surrogate pair.
    return json.dumps(content, ensure_ascii=False).encode(errors="backslashreplace")


def _not_found() -> _RequestRefused:
    return _RequestRefused(404, {"message": "Not Found"})
