"""The checklist of the settings page, over a socket with the two fakes."""

import html
import json
import re
from pathlib import Path

import pytest

from forwarder.settings import load
from forwarder.settings.reference import template
from forwarder.vault import Vault
from forwarder.web.iam_policy import IamPolicy
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import ACCOUNT, BUS, KEY, REGION, StrictEventBridge
from tests.web.client import WebClient
from tests.web.test_settings_page import KEYS, STEPS_ONLY, load_page, read_form_fields, send, settings_page_client

ROLE = "arn:aws:iam::210987654321:role/forwarder"


def states(text: str) -> dict[str, str]:
    """Return the state of each item, by its id. The last version of an item counts."""
    return dict(re.findall(r'<li id="item-([\w-]+)".*?<span class="state (\w+)', text, re.DOTALL))


def policy(text: str) -> str:
    found = re.findall(r'<pre class="policy"[^>]*>(.*?)</pre>', text, re.DOTALL)
    return html.unescape(found[-1])


async def remove_secrets(client: WebClient) -> None:
    assert (await send(client, {f"remove {name}": "yes" for name in KEYS})).status == 303


async def run_checks(client: WebClient) -> str:
    return await (await client.change("/settings/checklist")).text()


async def test_file_of_init_shows_what_is_missing(tmp_path: Path) -> None:
    async with settings_page_client(tmp_path) as client:
        await remove_secrets(client)
        client.context.config_source.file.write_text(template())
        page = await load_page(client)
        assert states(page) == dict.fromkeys(["alloy-key", "workflows", "aws-keys", "bus"], "missing") | {
            "test-event": "set"
        }
        assert "3 of 5 need attention" in page
        assert "data-check-on-load" in page
        assert 'class="notice bad" role="alert"' not in page
        assert read_form_fields(page)["destination.event_bus"] == ""


async def test_file_of_init_is_saved_when_it_is_filled_in(tmp_path: Path) -> None:
    """Save without an edit is refused with the two fields, and with them it succeeds; comments survive."""
    async with settings_page_client(tmp_path) as client:
        file = client.context.config_source.file
        file.write_text(template())
        refused = await send(client, {})
        assert refused.status == 422
        text = await refused.text()
        assert set(re.findall(r'id="fault-([^"]+)"', text)) == {"destination.event_bus", "destination.region"}
        assert text.count(">Is empty</p>") == 2
        assert file.read_text() == template()
        without_key = {"destination.event_bus": BUS, "destination.region": REGION, "remove alloy-api-key": "yes"}
        saved = await client.get((await send(client, without_key)).headers["Location"])
        assert "Saved. The checklist names what is still missing." in await saved.text()
        filled = {"destination.event_bus": BUS, "destination.region": REGION, "source.workflows": "w"} | KEYS
        saved = await client.get((await send(client, filled)).headers["Location"])
        assert "Saved. It takes effect within a second" in await saved.text()
        assert load(client.context.config_source).destination.event_bus == BUS
        comments = [line for line in template().splitlines() if line.startswith("#")]
        assert [line for line in file.read_text().splitlines() if line.startswith("#")] == comments
        before = file.read_bytes()
        assert (await send(client, {})).status == 303
        assert file.read_bytes() == before


async def test_each_item_has_the_result_of_its_own_check(tmp_path: Path) -> None:
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        alloy.api.add_workflow("w")
        destination = {"event_bus": BUS, "region": REGION, "endpoint_url": bus.url}
        source = {"base_url": alloy.url, "workflows": ["w"]}
        async with settings_page_client(tmp_path, source=source, destination=destination) as client:
            await send(client, KEYS)
            assert set(states(await load_page(client)).values()) == {"set"}
            checked = dict.fromkeys(["alloy-key", "workflows", "aws-keys", "bus"], "checked")
            assert states(await run_checks(client)) == checked | {"test-event": "set"}
            await send(client, {}, "/settings/test", STEPS_ONLY)
            assert states(await load_page(client)) == checked | {"test-event": "checked"}
            bus.buses.clear()
            text = await run_checks(client)
            assert states(text)["bus"] == "failed"
            await send(client, {"source.workflows": "w, unknown-1"})
            text = await run_checks(client)
            assert states(text)["workflows"] == "failed"
            assert "unknown-1" in text


async def test_alloy_is_checked_before_the_bus_is_chosen(tmp_path: Path) -> None:
    with FakeAlloy() as alloy:
        alloy.api.add_workflow("w")
        source = {"base_url": alloy.url, "workflows": ["w"]}
        async with settings_page_client(tmp_path, source=source, destination={}) as client:
            vault = Vault.open(client.context.config_source, client.context.settings())
            vault.set("alloy-api-key", API_KEY, client.clock.now())
            found = states(await run_checks(client))
            assert (found["alloy-key"], found["workflows"], found["bus"]) == ("checked", "checked", "missing")


async def test_bus_is_not_failed_without_credentials(tmp_path: Path) -> None:
    async with settings_page_client(tmp_path, source={"base_url": "http://127.0.0.1:1"}) as client:
        await remove_secrets(client)
        found = states(await run_checks(client))
        assert (found["aws-keys"], found["bus"]) == ("missing", "set")


async def test_keys_of_the_environment_are_named_without_sts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY.id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY.secret)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    with StrictEventBridge() as bus:
        source = {"base_url": "http://127.0.0.1:1"}
        destination = {"event_bus": BUS, "region": REGION, "endpoint_url": bus.url}
        async with settings_page_client(tmp_path, source=source, destination=destination) as client:
            await remove_secrets(client)
            text = await run_checks(client)
            assert (states(text)["aws-keys"], states(text)["bus"]) == ("set", "checked")
            assert "AWS STS does not confirm the keys from the variables AWS_ACCESS_KEY_ID" in text


async def test_results_of_other_settings_are_not_shown(tmp_path: Path) -> None:
    """A check of unsaved values is not recorded, and a save makes the recorded results obsolete."""
    with FakeAlloy() as alloy:
        alloy.api.add_workflow("w")
        source = {"base_url": alloy.url, "workflows": ["w"]}
        async with settings_page_client(tmp_path, source=source) as client:
            await send(client, {"alloy-api-key": API_KEY}, "/settings/check", STEPS_ONLY)
            assert states(await load_page(client))["alloy-key"] == "set"
            await send(client, {"alloy-api-key": API_KEY})
            await run_checks(client)
            assert states(await load_page(client))["alloy-key"] == "checked"
            await send(client, {"event.source": "mine"})
            assert states(await load_page(client))["alloy-key"] == "set"


async def test_checklist_contains_no_secret(tmp_path: Path) -> None:
    async with settings_page_client(tmp_path, source={"base_url": "http://127.0.0.1:1"}) as client:
        await send(client, KEYS)
        text = await run_checks(client) + await (await client.get("/settings/checklist")).text()
        assert not [secret for secret in KEYS.values() if secret in text]


async def test_policy_names_the_bus_of_the_checked_account(tmp_path: Path) -> None:
    with StrictEventBridge() as bus:
        destination = {"event_bus": BUS, "region": REGION, "endpoint_url": bus.url}
        async with settings_page_client(tmp_path, destination=destination) as client:
            await send(client, KEYS)
            text = policy(await load_page(client))
            assert json.loads(text)["Statement"][0]["Resource"] == f"arn:aws:events:{REGION}:ACCOUNT_ID:event-bus/{BUS}"
            text = policy(await run_checks(client))
            (statement,) = json.loads(text)["Statement"]
            assert statement["Resource"] == f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{BUS}"
            assert statement["Action"] == ["events:PutEvents", "events:DescribeEventBus"]
            assert KEY.secret not in text


def policy_of(bus: str, region: str, role: str = "", caller: str = "") -> IamPolicy:
    texts = {"destination.event_bus": bus, "destination.region": region, "destination.role_arn": role}
    return IamPolicy.of(texts, caller)


def test_policy_takes_the_account_from_the_settings() -> None:
    arn = "arn:aws-cn:events:cn-north-1:123456789012:event-bus/b"
    assert f'"{arn}"' in policy_of(arn, "cn-north-1").text
    assert (
        '"arn:aws-us-gov:events:us-gov-west-1:210987654321:event-bus/b"' in policy_of("b", "us-gov-west-1", ROLE).text
    )
    assert policy_of("b", "eu-west-1", ROLE).placeholders == ()


def test_policy_names_its_placeholders() -> None:
    assert policy_of("", "").placeholders == ("EVENT_BUS_NAME", "REGION", "ACCOUNT_ID")
    assert policy_of("b", "eu-west-1").placeholders == ("ACCOUNT_ID",)
