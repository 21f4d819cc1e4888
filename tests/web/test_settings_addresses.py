"""A stored key is not sent to an address that comes from the form, over a socket with the two fakes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from forwarder.settings import load
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import BUS, KEY, REGION, StrictEventBridge
from tests.web.client import WebClient
from tests.web.test_settings_page import STEPS_ONLY, send, settings_page_client

AWS_KEYS = {"aws-access-key-id": KEY.id, "aws-secret-access-key": KEY.secret, "aws-session-token": KEY.token or ""}
PATHS = ["/settings", "/settings/check", "/settings/test", "/settings/workflows"]


async def send_without_secrets(client: WebClient, changes: Mapping[str, str], path: str) -> Any:
    return await send(client, changes, path, STEPS_ONLY)


@pytest.mark.parametrize("path", PATHS)
async def test_stored_alloy_key_is_not_sent_elsewhere(tmp_path: Path, path: str) -> None:
    with FakeAlloy() as other:
        async with settings_page_client(tmp_path) as client:
            response = await send_without_secrets(client, {"source.base_url": other.url}, path)
            text = await response.text()
            assert other.requests == []
            assert load(client.context.config_source).source.base_url != other.url
            if path != "/settings/test":  # a test event does not use the logs API
                assert "to be entered again" in text
                assert "alloy-api-key" in text


@pytest.mark.parametrize("path", ["/settings", "/settings/check", "/settings/test"])
async def test_stored_aws_keys_are_not_sent_elsewhere(tmp_path: Path, path: str) -> None:
    with StrictEventBridge() as other:
        async with settings_page_client(tmp_path) as client:
            response = await send_without_secrets(client, {"destination.endpoint_url": other.url}, path)
            assert other.served == []
            assert "to be entered again" in await response.text()
            assert load(client.context.config_source).destination.endpoint_url == ""


async def test_address_is_saved_with_its_key(tmp_path: Path) -> None:
    with FakeAlloy() as other:
        async with settings_page_client(tmp_path) as client:
            response = await send(client, {"source.base_url": other.url, "alloy-api-key": API_KEY})
            assert response.status == 303
            assert load(client.context.config_source).source.base_url == other.url


async def test_address_is_saved_if_its_key_is_removed(tmp_path: Path) -> None:
    with FakeAlloy() as other:
        async with settings_page_client(tmp_path) as client:
            changes = {"source.base_url": other.url, "remove alloy-api-key": "yes"}
            assert (await send(client, changes)).status == 303


async def test_role_and_region_need_no_key_again(tmp_path: Path) -> None:
    async with settings_page_client(tmp_path) as client:
        role = "arn:aws:iam::123456789012:role/forwarder"
        changes = {"destination.region": "us-east-1", "destination.role_arn": role, "destination.event_bus": "other"}
        assert (await send(client, changes)).status == 303
        assert load(client.context.config_source).destination.role_arn == role


async def test_fault_names_each_key_of_a_changed_address(tmp_path: Path) -> None:
    async with settings_page_client(tmp_path, destination={"event_bus": BUS, "region": REGION}) as client:
        text = await (await send(client, {"destination.endpoint_url": "http://127.0.0.1:1"})).text()
        for name in ("aws-access-key-id", "aws-secret-access-key"):
            assert f'id="fault-{name}"' in text
        assert 'id="fault-alloy-api-key"' not in text
