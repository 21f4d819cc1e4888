"""A settings form with thousands of workflows can be saved and checked."""

from pathlib import Path

import pytest

from forwarder.settings import load
from tests.web.client import WebClient
from tests.web.test_settings_page import STEPS_ONLY, load_page, read_form_fields, settings_page_client

COUNT = 3000
WORKFLOWS = [{"id": f"{number:024x}", "user_id": f"user-{number:024x}"} for number in range(COUNT)]
ADDED = "64f1a2c9e1"


async def form_with_one_more(client: WebClient) -> dict[str, str]:
    form = read_form_fields(await load_page(client))
    return form | {"source.workflows": f"{form['source.workflows']}\r\n{ADDED}"}


async def test_thousands_of_workflows_are_saved(tmp_path: Path) -> None:
    async with settings_page_client(tmp_path, source={"workflows": WORKFLOWS}) as client:
        response = await client.change("/settings", data=await form_with_one_more(client))
        assert response.status == 303
        assert len(load(client.context.config_source).source.workflows) == COUNT + 1


@pytest.mark.parametrize("path", ["/settings/check", "/settings/test", "/settings/workflows"])
async def test_thousands_of_workflows_are_checked(tmp_path: Path, path: str) -> None:
    source = {"workflows": WORKFLOWS, "base_url": "http://127.0.0.1:9"}
    async with settings_page_client(tmp_path, source=source) as client:
        response = await client.change(path, STEPS_ONLY, data=await form_with_one_more(client))
        assert response.status == 200
