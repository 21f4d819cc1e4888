"""A model of the logs of Alloy Embedded's API as publicly documented, without a socket."""

from __future__ import annotations

import json
import threading
from bisect import insort
from dataclasses import dataclass, field
from email.utils import format_datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 30


@dataclass(frozen=True)
class ApiResponse:
    """A response of the API."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Listed:
    """An execution in the logs of one workflow. `body` is its JSON, and `order` its position by time."""

    record: dict[str, Any]
    user_id: str | None
    body: bytes
    order: tuple[str, int]


_OLDEST_FIRST: Final = attrgetter("order")


class RequestRefusedError(Exception):
    """A request that is answered with an error status."""

    def __init__(self, status: int, content: dict[str, Any]) -> None:
        super().__init__(status)
        self.response = ApiResponse(status, json.dumps(content).encode())


class FakeAlloyApi:
    """The logs of workflows, for one API key. Threads may share it.

    The attributes of the class are the choices that the documentation leaves open.
    """

    version = "2024-03"
    path_segments = frozenset({"workflow", "workflows"})
    page_base = 0
    sorted_by = "startedAt"

    def __init__(self, *, api_key: str, now: Callable[[], datetime]) -> None:
        self.api_key, self.now = api_key, now
        self._workflows: dict[str, list[Listed]] = {}  # oldest first
        self._added = 0
        self._lock = threading.RLock()

    def add_workflow(self, workflow_id: str) -> None:
        """Add a workflow that has no executions yet."""
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
        """Add an execution. It is listed before earlier ones with the same time. `raw` is its JSON in responses."""
        with self._lock:
            self._added += 1
            body = encode_json(record) if raw is None else raw
            listed = Listed(record, user_id, body, self._order(record, self._added))
            insort(self._workflows.setdefault(workflow_id, []), listed, key=_OLDEST_FIRST)

    def update(self, execution_id: str, **fields: object) -> None:
        """Change an execution in all workflows that list it, for example from running to failed."""
        with self._lock:
            for runs in self._workflows.values():
                for run in runs:
                    if run.record.get("executionId") == execution_id:
                        run.record = run.record | fields
                        run.body, run.order = encode_json(run.record), self._order(run.record, run.order[1])
                runs.sort(key=_OLDEST_FIRST)

    def respond(self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> ApiResponse:
        """Return the response to a request. `path` is the encoded path of the request line."""
        with self._lock:
            try:
                self._authorise(headers)
                response = self._route(method, self._segments(path), query)
            except RequestRefusedError as refusal:
                response = refusal.response
            date = format_datetime(self.now(), usegmt=True)
            return ApiResponse(response.status, response.body, {"Content-Type": "application/json", "Date": date})

    def _authorise(self, headers: Mapping[str, str]) -> None:
        header = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer" or key.strip() != self.api_key:
            raise RequestRefusedError(401, {"message": "Unauthorized"})

    def _segments(self, path: str) -> list[str]:
        segments = [unquote(segment) for segment in path.removesuffix("/").split("/")[1:]]
        if self.version and segments[:1] != [self.version]:
            raise not_found()
        return segments[1:] if self.version else segments

    def _route(self, method: str, segments: list[str], query: Mapping[str, str]) -> ApiResponse:
        match method, segments:
            case "GET", [segment, workflow_id, "logs"] if segment in self.path_segments:
                return self._logs(self._runs(workflow_id), query)
        raise not_found()

    def _logs(self, runs: list[Listed], query: Mapping[str, str]) -> ApiResponse:
        page = _number(query, "page", self.page_base, self.page_base) - self.page_base
        limit = _number(query, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        if (order := query.get("order", "desc")) not in {"asc", "desc"}:
            raise RequestRefusedError(400, {})
        if user_id := query.get("userId"):
            runs = [run for run in runs if run.user_id == user_id]
        first, last = page * limit, (page + 1) * limit
        listed = (runs if order == "asc" else runs[::-1])[first:last]
        self._on_listed(listed)
        if not listed:
            return data_response([])
        # The sample's own layout, so that a page of nothing but the sample is the sample, byte for byte.
        joined = b",\n    ".join(run.body for run in listed)
        return ApiResponse(200, b'{\n  "data": [\n    ' + joined + b"\n  ]\n}")

    def _on_listed(self, runs: list[Listed]) -> None:
        """Handle the executions of a page before it is returned. A subclass may override this."""

    def _runs(self, workflow_id: str) -> list[Listed]:
        if workflow_id not in self._workflows:
            raise not_found()
        return self._workflows[workflow_id]

    def _order(self, record: dict[str, Any], added: int) -> tuple[str, int]:
        return str(record.get(self.sorted_by, "")), added


def _number(query: Mapping[str, str], name: str, default: int, minimum: int, maximum: int = 2**31) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or not minimum <= int(text) <= maximum:
        raise RequestRefusedError(400, {})
    return int(text)


def data_response(rows: list[dict[str, Any]]) -> ApiResponse:
    return ApiResponse(200, encode_json({"data": rows}))


def encode_json(content: dict[str, Any]) -> bytes:
    # The encoding of JSON.stringify: UTF-8, and an escape for half a surrogate pair.
    return json.dumps(content, ensure_ascii=False).encode(errors="backslashreplace")


def not_found() -> RequestRefusedError:
    return RequestRefusedError(404, {"message": "Not Found"})
