"""The model of Alloy's API responds as documented."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from forwarder.demo.fake_alloy import ApiResponse
from forwarder.demo.sample_data import (
    FAILURES,
    VARIANTS,
    Outcome,
    Variant,
    execution,
    is_failed_record,
    product_page_record,
    product_page_sample,
)
from tests.fakes.alloy_api import DocumentedAlloyApi

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
KEY = {"authorization": "bearer k3y"}
SAMPLE_SHA256 = "fc72740690bb20fa6a258307a21f6428c69e7556b6db7d784f477cd74de7a73f"


def an_api(**options: Any) -> DocumentedAlloyApi:
    return DocumentedAlloyApi(api_key="k3y", now=lambda: NOW, **options)


def a_run(number: int, outcome: Outcome = "success", variant: Variant = "2024-03") -> dict[str, Any]:
    return execution(outcome, id=f"run-{number}", started=NOW + timedelta(seconds=number), variant=variant)


def get(api: DocumentedAlloyApi, path: str, **query: str) -> ApiResponse:
    return api.respond("GET", path, query, KEY)


def ids(reply: ApiResponse) -> list[str]:
    return [record["executionId"] for record in json.loads(reply.body)["data"]]


def test_sample_of_the_product_page_is_served_exactly() -> None:
    api = an_api()
    api.add("w", json.loads(product_page_record()), raw=product_page_record())
    assert get(api, "/2024-03/workflow/w/logs").body == product_page_sample()
    assert hashlib.sha256(product_page_sample()).hexdigest() == SAMPLE_SHA256


def test_pages_are_newest_first_and_end_with_an_empty_one() -> None:
    api = an_api()
    for number in (2, 0, 3, 1):
        api.add("w", a_run(number))
    assert ids(get(api, "/2024-03/workflows/w/logs", page="0", limit="3")) == ["run-3", "run-2", "run-1"]
    assert ids(get(api, "/2024-03/workflows/w/logs", page="1", limit="3")) == ["run-0"]
    assert get(api, "/2024-03/workflows/w/logs", page="2", limit="3").body == b'{"data": []}'
    assert ids(get(api, "/2024-03/workflows/w/logs", order="asc", limit="2")) == ["run-0", "run-1"]


def test_page_has_ten_records_or_the_limit_up_to_thirty() -> None:
    api = an_api()
    for number in range(40):
        api.add("w", a_run(number))
    assert len(ids(get(api, "/2024-03/workflow/w/logs"))) == 10
    assert len(ids(get(api, "/2024-03/workflow/w/logs", limit="30"))) == 30
    assert get(api, "/2024-03/workflow/w/logs", limit="31").status == 400


def test_page_numbers_may_start_at_one() -> None:
    api = an_api(page_base=1)
    api.add("w", a_run(1))
    assert (
        get(api, "/2024-03/workflow/w/logs", page="0").status,
        ids(get(api, "/2024-03/workflow/w/logs")),
    ) == (
        400,
        ["run-1"],
    )


def test_unknown_segment_version_or_workflow_is_not_found() -> None:
    api = an_api(path_segments=frozenset({"workflows"}))
    api.add("w", a_run(1))
    for path in ("/2024-03/workflow/w/logs", "/2023-12/workflows/w/logs", "/2024-03/workflows/v/logs", "/"):
        assert get(api, path).status == 404
    assert get(api, "/2024-03/workflows/w/logs").status == 200


def test_path_without_version_has_no_version_segment() -> None:
    api = an_api(version="")
    api.add("w", a_run(1))
    assert ids(get(api, "/workflow/w/logs")) == ["run-1"]


@pytest.mark.parametrize("headers", [{}, {"authorization": "bearer other"}, {"authorization": "Basic k3y"}])
def test_wrong_api_key_is_unauthorized(headers: dict[str, str]) -> None:
    reply = an_api().respond("GET", "/2024-03/users", {}, headers)
    assert (reply.status, reply.body) == (401, b'{"message": "Unauthorized"}')


def test_scheme_has_any_case_and_responses_have_a_date() -> None:
    reply = an_api().respond("GET", "/2024-03/users", {}, {"Authorization": "Bearer k3y"})
    assert (reply.status, reply.headers["Date"]) == (200, "Mon, 02 Nov 2026 12:00:00 GMT")


def test_ids_are_decoded_per_path_segment() -> None:
    api = an_api()
    api.add("a/b c🫖%2F", a_run(1))
    assert ids(get(api, "/2024-03/workflow/a%2Fb%20c%F0%9F%AB%96%252F/logs")) == ["run-1"]


def test_only_failures_on_returned_pages_count_as_listed() -> None:
    api = an_api()
    for number in range(3):
        api.add("w", a_run(number, "unfinished"))
    api.add("w", a_run(9, "running"))
    assert api.listed_ids == frozenset()
    get(api, "/2024-03/workflow/w/logs", limit="2")
    assert api.listed_ids == {"run-2"}
    api.update("run-9", status="failed", stoppedAt="2026-11-02T12:01:00.000Z")
    get(api, "/2024-03/workflow/w/logs", limit="2")
    assert api.listed_ids == {"run-2", "run-9"}


def test_executions_of_a_user_are_listed_separately() -> None:
    api = an_api()
    api.add("w", a_run(1), user_id="ada")
    api.add("w", a_run(2))
    assert ids(get(api, "/2024-03/workflow/w/logs", userId="ada")) == ["run-1"]
    assert ids(get(api, "/2024-03/workflow/w/logs")) == ["run-2", "run-1"]


def test_other_endpoints_respond_as_documented() -> None:
    api = an_api()
    api.add("w", a_run(1, "failed-status"), user_id="ada")
    api.add_workflow("v")

    def rows(path: str, **query: str) -> list[dict[str, Any]]:
        return list(json.loads(get(api, path, **query).body)["data"])

    assert [user["userId"] for user in rows("/2024-03/users")] == ["ada"]
    listed = rows("/2024-03/workflows/", userId="ada")
    assert [(row["workflowId"], row["installed"]) for row in listed] == [("w", True), ("v", False)]
    assert get(api, "/2024-03/workflows/").status == 400
    assert [row["workflowActive"] for row in rows("/2024-03/workflows/w/users/")] == [True]
    assert get(api, "/2024-03/workflows/v/users/").status == 404
    assert [row["workflowId"] for row in rows("/2024-03/workflows/w/errors")] == ["w"]


def test_rerun_is_recorded() -> None:
    api = an_api()
    api.add("w", a_run(1))
    reply = api.respond("POST", "/2024-03/workflows/w/rerun/run-1", {}, KEY)
    assert json.loads(reply.body) == {"message": "success", "executionUuid": "37e974f0-00000001"}
    assert api.respond("POST", "/2024-03/workflows/w/rerun/other", {}, KEY).status == 404
    assert api.reruns == [("w", "run-1")]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("outcome", ["success", "running", *FAILURES])
def test_each_outcome_has_its_form_in_each_variant(outcome: Outcome, variant: Variant) -> None:
    assert is_failed_record(a_run(1, outcome, variant)) == (outcome in FAILURES)
