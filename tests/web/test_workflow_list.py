"""The workflows that the page lists and accepts, over a socket with the fake of Alloy."""

import re
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from forwarder.demo.sample_data import execution
from forwarder.settings import load
from forwarder.web.workflow_ids import parse_workflows
from tests.fakes import alloy as faults
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.vault.vault_folder import SECRETS
from tests.virtual_clock import NOON
from tests.web.test_settings_page import load_page, read_form_fields, send, settings_page_client

PART_ONLY = {"X-Part-Only": "1"}


def add_workflow(alloy: FakeAlloy, workflow_id: str, user_id: str) -> None:
    """Add a workflow with one execution of this user. The API lists the workflows of users only."""
    alloy.api.add(workflow_id, execution("success", id=f"e {workflow_id}", started=NOON), user_id=user_id)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a, b;c d\te\n\nf", ["a", "b", "c", "d", "e", "f"]),
        ("a\na, a", ["a"]),
        ("https://embedded.runalloy.com/2024-03/workflow/a1/logs", ["a1"]),
        ("https://app.example/workflows/a1/?tab=logs,errors#top", ["a1"]),
        ("https://app.example/workflows/a1,https://app.example/workflows/b2/", ["a1", "b2"]),
        ("https://x/workflows/a?x=1,https://x/workflows/b?y=2; c", ["a", "b", "c"]),
        ("/workflows/a1/logs", ["a1"]),
        ("https://x/2024-03/workflows/a/logs?userId=u-42&page=0", [{"id": "a", "user_id": "u-42"}]),
        ("a user=u-42", [{"id": "a", "user_id": "u-42"}]),
        ("a user=u 1, b user=u2", [{"id": "a", "user_id": "u 1"}, {"id": "b", "user_id": "u2"}]),
        ("a b user=u", ["a", {"id": "b", "user_id": "u"}]),
        ("user=u", [{"id": "", "user_id": "u"}]),
        ("https://app.example/flows/a", ["https://app.example/flows/a"]),
        ("https://[x/workflows/a", ["https://[x/workflows/a"]),
    ],
)
def test_typed_workflows_are_split_and_extracted(text: str, expected: object) -> None:
    assert parse_workflows(text, known_lines=()) == expected


def test_line_of_the_settings_file_is_not_split() -> None:
    known = ["my workflow", "b user=u, 1"]
    assert parse_workflows("my workflow\nb user=u, 1\nc d", known) == [
        "my workflow",
        {"id": "b", "user_id": "u, 1"},
        "c",
        "d",
    ]


async def test_pasted_workflows_are_saved_as_ids(tmp_path: Path) -> None:
    async with settings_page_client(tmp_path) as client:
        pasted = "https://embedded.runalloy.com/2024-03/workflows/a1/logs?x=1, b2 c3\nb2"
        assert (await send(client, {"source.workflows": pasted})).status == 303
        assert list(map(str, load(client.context.config_source).source.workflows)) == ["a1", "b2", "c3"]
        assert read_form_fields(await load_page(client))["source.workflows"] == "a1\nb2\nc3"


async def test_list_uses_the_key_of_the_form_before_aws_is_set(tmp_path: Path) -> None:
    with FakeAlloy() as alloy:
        add_workflow(alloy, "w-1", "u1")
        add_workflow(alloy, "<w-2>", "u2")
        async with settings_page_client(tmp_path, destination={}) as client:
            form = {"source.base_url": alloy.url, "alloy-api-key": API_KEY}
            with capture_logs() as logs:
                text = await (await send(client, form, "/settings/workflows", PART_ONLY)).text()
            assert re.findall(r'data-workflow="([^"]*)"', text) == ["&lt;w-2&gt;", "w-1"]
            assert "Workflow w-1" in text
            assert API_KEY not in text + str(logs)
            page = await (await send(client, form, "/settings/workflows")).text()
            assert 'data-workflow="w-1"' in page
            assert API_KEY not in page


async def test_list_uses_the_stored_key(tmp_path: Path) -> None:
    with FakeAlloy(api_key=SECRETS["alloy-api-key"]) as alloy:
        add_workflow(alloy, "w-1", "u")
        async with settings_page_client(tmp_path, source={"base_url": alloy.url}) as client:
            text = await (await send(client, {}, "/settings/workflows", PART_ONLY)).text()
            assert 'data-workflow="w-1"' in text


async def test_list_says_why_it_is_empty(tmp_path: Path) -> None:
    with FakeAlloy(api_key=SECRETS["alloy-api-key"]) as alloy:
        async with settings_page_client(tmp_path, source={"base_url": alloy.url}) as client:
            text = await (await send(client, {}, "/settings/workflows", PART_ONLY)).text()
            assert "no user of this account has a workflow" in text
            alloy.next(faults.unauthorized())
            text = await (await send(client, {}, "/settings/workflows", PART_ONLY)).text()
            assert 'role="alert"' in text
            assert 'href="/settings#alloy-api-key"' in text


async def test_list_is_bounded_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    with FakeAlloy(api_key=SECRETS["alloy-api-key"]) as alloy:
        for number in range(501):
            add_workflow(alloy, f"w-{number}", "u")
        async with settings_page_client(tmp_path, source={"base_url": alloy.url}) as client:
            text = await (await send(client, {}, "/settings/workflows", PART_ONLY)).text()
            assert text.count("data-workflow=") == 500
            assert "1 more workflows are not listed here" in text
