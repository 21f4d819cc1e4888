"""Errors in responses with status 200 are not empty pages, which would end the listing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.harness import fail, numbered, sent
from tests.fakes.actions import HttpResponse
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import CommandResult, Installation

ERRORS: dict[str, Any] = {
    "success-false": {"success": False, "data": [], "message": "the store is away"},
    "ok-false": {"ok": False, "data": []},
    "success-false-without-data": {"success": False, "error": "the store is away"},
    "error-object": {"data": [], "error": {"message": "the store is away", "code": 7}},
    "error-text": {"data": None, "error": "the store is away"},
    "list-of-errors": {"data": [], "errors": [{"detail": "the store is away"}]},
    "status-in-the-body": {"data": [], "statusCode": 500, "message": "the store is away"},
    "status-as-text": {"data": [], "status": "error", "message": "the store is away"},
    "nested": {"errors": {"error": {"reason": "the store is away"}}},
    "with-a-secret": {"data": [], "error": "password=pl4nted is wrong"},
}

EMPTY: dict[str, Any] = {
    "no-error": {"data": [], "error": None, "errors": [], "success": True, "status": "ok", "message": "fine"},
    "status-200": {"data": [], "statusCode": 200, "code": 0, "status": "200"},
    "error-false": {"data": [], "error": False},
}


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, CommandResult, list[str]]]:
    """Run one pass over a workflow for each error, which replaces the second page."""
    forms = ERRORS | EMPTY
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        installation = Installation(tmp_path_factory.mktemp("errors"), alloy=alloy.url, bus=bus.url)
        installation.create_vault()
        installation.change("source", workflows=[*forms], page_size=2, requests_per_second=1000)
        for name in forms:
            fail(alloy, *numbered(4, f"{name}-"), workflow=name)
        alloy.always(
            lambda request: (
                HttpResponse(200, {}, json.dumps(forms[request.path.split("/")[-2]]).encode())
                if request.query.get("page") != "0"
                else None
            )
        )
        yield installation, installation.run_command("once"), sent(bus)


def lines_of(done: CommandResult, feed: str) -> str:
    return " ".join(json.dumps(line) for line in done.log if line.get("feed") == feed)


@pytest.mark.parametrize("name", ERRORS)
def test_error_under_200_ends_the_scan_as_incomplete(
    passed: tuple[Installation, CommandResult, list[str]], name: str
) -> None:
    _, done, ids = passed
    assert "reports an error under a status of success" in lines_of(done, name)
    assert "the store is away" in lines_of(done, name) or name in ("ok-false", "with-a-secret")
    assert [id_ for id_ in ids if id_[:-3] == f"{name}-"] == numbered(4, f"{name}-")[2:], "page 0 was read"
    assert done.code == 69
    assert "pl4nted" not in done.output


def test_error_under_200_leaves_the_watermark(passed: tuple[Installation, CommandResult, list[str]]) -> None:
    installation, _, _ = passed
    feeds = {feed["workflow_id"]: feed for feed in installation.run_command("status", "--json").json()["feeds"]}
    assert {name for name in ERRORS if feeds[name]["watermark"]} == set()
    assert {name for name in EMPTY if not feeds[name]["watermark"]} == set()


@pytest.mark.parametrize("name", EMPTY)
def test_fields_without_an_error_end_the_scan(passed: tuple[Installation, CommandResult, list[str]], name: str) -> None:
    assert "poll aborted" not in lines_of(passed[1], name)


def test_discovery_distinguishes_an_error_from_no_users(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", workflows=None, discover=True)
    alloy.always(lambda _: HttpResponse(200, {}, b'{"success": false, "data": [], "message": "the store is away"}'))
    done = installation.run_command("once", "--timeout", "5s")
    assert done.code != 0
    assert "the store is away" in done.output
