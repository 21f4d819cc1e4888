"""The requests of the logs client, and the meaning of each response."""

import asyncio
from datetime import timedelta

import pytest

from forwarder.demo.sample_data import execution
from forwarder.errors import (
    PageUnreadable,
    WorkflowNotFound,
)
from forwarder.model import Feed
from tests.alloy.harness import FEED, ids, open_client
from tests.fakes import alloy as faults
from tests.fakes.actions import HttpResponse
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.virtual_clock import NOON


@pytest.mark.parametrize("compress", [False, True])
async def test_page_request_is_as_documented(compress: bool) -> None:
    with FakeAlloy(now=lambda: NOON, compress=compress) as alloy:
        alloy.api.add("a/b c", execution("failed-status", id="1", started=NOON), user_id="u/1 &é")
        async with open_client(alloy) as client:
            page = await client.fetch_page(Feed("a/b c", "u/1 &é"), 0, 30)
        (request,) = alloy.requests
    assert ([each.id for each in page.records.executions], page.api_now) == (["1"], NOON)
    assert request.path == "/2024-03/workflow/a%2Fb%20c/logs"
    assert request.query == {"page": "0", "limit": "30", "order": "desc", "userId": "u/1 &é"}
    assert request.headers["authorization"] == f"bearer {API_KEY}"
    assert (request.headers["accept"], request.headers["user-agent"][:10]) == ("application/json", "forwarder/")
    assert "x-api-version" not in request.headers


async def test_version_in_header_only_is_sent() -> None:
    with FakeAlloy(now=lambda: NOON, version="") as alloy:
        alloy.api.add("w", execution("failed-status", id="1", started=NOON))
        async with open_client(alloy, version="", version_header="2025-09") as client:
            assert await ids(client) == "1"
        assert (alloy.requests[0].path, alloy.requests[0].headers["x-api-version"]) == ("/workflow/w/logs", "2025-09")


@pytest.mark.parametrize("base", [0, 1])
async def test_page_base_of_zero_or_one_is_detected(base: int) -> None:
    with FakeAlloy(now=lambda: NOON, page_base=base) as alloy:
        for number in range(5):
            alloy.api.add("w", execution("failed-status", id=f"{number}", started=NOON + timedelta(seconds=number)))
        async with open_client(alloy) as client:
            for _ in range(2):
                assert [await ids(client, page) for page in range(4)] == ["43", "21", "0", ""]


async def test_first_page_refused_once_is_requested_again(alloy: FakeAlloy) -> None:
    """A single 400 for the first page does not fix the page base at one."""
    alloy.next(HttpResponse(400, {}, b"{}"))
    async with open_client(alloy) as client:
        await ids(client)
        assert [await ids(client, page) for page in range(3)] == ["43", "21", "0"]


async def test_removed_feeds_are_forgotten() -> None:
    with FakeAlloy(now=lambda: NOON, page_base=1) as alloy:
        for workflow in "wv":
            alloy.api.add(workflow, execution("failed-status", id=workflow, started=NOON))
        async with open_client(alloy) as client:
            for workflow in "wv":
                await client.fetch_page(Feed(workflow), 0, 2)
            before = set(client._first_page_number)  # noqa: SLF001  # memory is visible only there
            client.forget_all_except({Feed("w")})
            after = set(client._first_page_number)  # noqa: SLF001
            again = await client.fetch_page(Feed("v"), 0, 2)
    assert (before, after) == ({Feed("w"), Feed("v")}, {Feed("w")})
    assert [each.id for each in again.records.executions] == ["v"]


@pytest.mark.parametrize("known", ["workflow", "workflows"])
@pytest.mark.parametrize("configured", ["workflow", "workflows"])
async def test_other_path_segment_is_tried_once_and_remembered(known: str, configured: str) -> None:
    with FakeAlloy(now=lambda: NOON, path_segments=frozenset({known})) as alloy:
        for workflow in "ab":
            alloy.api.add(workflow, execution("failed-status", id=workflow, started=NOON))
        async with open_client(alloy, path_segment=configured) as client:
            found = [await ids(client, page, feed=Feed(workflow)) for workflow in "ab" for page in range(3)]
        assert found == ["a", "", "", "b", "", ""]
        assert len(alloy.requests) == 6 + (known != configured)


async def test_missing_workflow_is_reported_and_others_are_read(alloy: FakeAlloy) -> None:
    async with open_client(alloy) as client:
        for _ in range(2):
            with pytest.raises(WorkflowNotFound) as raised:
                await ids(client, feed=Feed("none", "u"))
            assert raised.value.hint
            assert await ids(client) == "43"


@pytest.mark.parametrize("fault", [faults.undated, faults.skewed(timedelta(hours=-1))])
async def test_api_clock_is_read_from_date_header(alloy: FakeAlloy, fault: faults.Fault) -> None:
    """Without a Date header, the page has no API time."""
    alloy.next(fault)
    async with open_client(alloy) as client:
        page = await client.fetch_page(FEED, 0, 30)
    assert page.api_now == (None if fault is faults.undated else NOON - timedelta(hours=1))


async def test_users_and_workflows_are_listed_by_id(alloy: FakeAlloy) -> None:
    alloy.api.add("v", execution("success", id="x", started=NOON), user_id="u/1")
    async with open_client(alloy) as client:
        assert await client.list_users() == ["u/1"]
        assert await client.list_workflows("u/1") == {"w": "Workflow w", "v": "Workflow v"}
        alloy.next(
            HttpResponse(200, {}, b'{"data": [{"userId": 7}, {"userId": ""}, {"userId": "a"}, null, {"userId": "a"}]}')
        )
        assert await client.list_users() == ["a"]
        for body in (b"[]", b'{"data": null}', b"", b"<html>", b'{"data": {}}'):
            alloy.next(HttpResponse(200, {}, body))
            with pytest.raises(PageUnreadable):
                await client.list_users()


async def test_rerun_names_workflow_and_execution(alloy: FakeAlloy) -> None:
    alloy.api.add("a/b", execution("failed-status", id="e/1 é", started=NOON))
    async with open_client(alloy) as client:
        assert (await client.rerun(Feed("a/b", "u"), "e/1 é")).startswith("37e974f0-")
        assert alloy.api.reruns == [("a/b", "e/1 é")]
        assert alloy.requests[-1].query == {"userId": "u"}
        with pytest.raises(WorkflowNotFound):
            await client.rerun(FEED, "unknown")


async def test_requests_in_flight_are_limited_by_concurrency_setting(alloy: FakeAlloy) -> None:
    alloy.always(lambda _: faults.delayed(0.02))
    async with open_client(alloy, concurrency=3) as client:
        await asyncio.gather(*(ids(client) for _ in range(15)))
    assert alloy.max_in_flight == 3
