"""A model of all documented endpoints of Alloy Embedded's API. It records the listed failures."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from forwarder.demo.fake_alloy import (
    ApiResponse,
    FakeAlloyApi,
    Listed,
    RequestRefusedError,
    data_response,
    encode_json,
    not_found,
)
from forwarder.demo.sample_data import is_failed_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime


class DocumentedAlloyApi(FakeAlloyApi):
    """The logs of workflows, and the endpoints for users, installations, errors and reruns.

    `options` are the choices that the documentation leaves open: `version`, `path_segments`, `page_base`, `sorted_by`.
    """

    def __init__(self, *, api_key: str, now: Callable[[], datetime], **options: Any) -> None:
        super().__init__(api_key=api_key, now=now)
        for name, value in options.items():
            if not hasattr(FakeAlloyApi, name):
                raise TypeError(name)
            setattr(self, name, value)
        self.reruns: list[tuple[str, str]] = []  # (workflow id, execution id)
        self._listed_ids: set[str] = set()

    @property
    def listed_ids(self) -> frozenset[str]:
        """Return the id of every execution that a page has listed as failed."""
        with self._lock:
            return frozenset(self._listed_ids)

    def _on_listed(self, runs: list[Listed]) -> None:
        failed = (run.record for run in runs if is_failed_record(run.record))
        self._listed_ids |= {record["executionId"] for record in failed if "executionId" in record}

    def _route(self, method: str, segments: list[str], query: Mapping[str, str]) -> ApiResponse:
        match method, segments:
            case "GET", ["users"]:
                return data_response(_users(chain.from_iterable(self._workflows.values())))
            case "GET", ["workflows"]:
                return self._listing(query.get("userId", ""))
            case "GET", ["workflows", workflow_id, "users"]:
                return self._installations(workflow_id)
            case "GET", ["workflows", workflow_id, "errors"]:
                return self._errors(workflow_id, query.get("userId"))
            case "POST", ["workflows", workflow_id, "rerun", execution_id]:
                return self._rerun(workflow_id, execution_id)
        return super()._route(method, segments, query)

    def _listing(self, user_id: str) -> ApiResponse:
        if not user_id:
            raise RequestRefusedError(400, {})
        return data_response(
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
            raise not_found()
        return data_response([user | {"workflowActive": True} for user in users])

    def _errors(self, workflow_id: str, user_id: str | None) -> ApiResponse:
        return data_response(
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
            raise not_found()
        self.reruns.append((workflow_id, execution_id))
        return ApiResponse(
            200, encode_json({"message": "success", "executionUuid": f"37e974f0-{len(self.reruns):08x}"})
        )


def _users(runs: Iterable[Listed]) -> list[dict[str, Any]]:
    ids = dict.fromkeys(run.user_id for run in runs if run.user_id is not None)
    return [{"userId": user_id, "username": user_id, "fullName": f"User {user_id}"} for user_id in ids]
