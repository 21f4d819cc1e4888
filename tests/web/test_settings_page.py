"""The settings page over a socket, with real files and the two fakes."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from structlog.testing import capture_logs

from forwarder.settings import ConfigSource, load
from forwarder.settings.reference import template
from forwarder.vault import Vault
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.bus_faults import entry_codes
from tests.fakes.eventbridge import BUS, KEY, REGION, StrictEventBridge
from tests.vault.vault_folder import SECRETS
from tests.web.client import WebClient, web_client

STEPS_ONLY = {"X-Steps-Only": "1"}

KEYS = {"aws-access-key-id": KEY.id, "aws-secret-access-key": KEY.secret, "alloy-api-key": API_KEY}


@asynccontextmanager
async def settings_page_client(
    folder: Path, environ: Mapping[str, str] | None = None, **sections: Any
) -> AsyncIterator[WebClient]:
    """Yield a client with a session, and a settings file with these sections."""
    async with web_client(folder) as client:
        table = {"enabled": False, "destination": {"event_bus": BUS, "region": REGION}} | sections
        client.context.config_source.file.write_text("# ours\n" + tomlkit.dumps(table))
        object.__setattr__(
            client.context, "config_source", ConfigSource(client.context.config_source.file, environ or {})
        )
        await client.log_in()
        yield client


async def load_page(client: WebClient) -> str:
    return await (await client.get("/settings")).text()


def read_form_fields(page: str) -> dict[str, str]:
    """Return the form as a browser submits it."""
    inputs = re.findall(r'<input type="(?:text|password|hidden)" name="([^"]+)"[^>]*?(?: value="([^"]*)")?', page)
    values = {
        name: unescape(found[1])
        for name, _ in inputs
        if (found := re.search(rf'name="{re.escape(name)}"[^>]* value="([^"]*)"', page))
    }
    areas = re.findall(r'<textarea name="([^"]+)"[^>]*>\n?(.*?)</textarea>', page, re.DOTALL)
    return values | {name: unescape(text) for name, text in areas}


async def send(
    client: WebClient, changes: Mapping[str, str], path: str = "/settings", headers: Mapping[str, str] | None = None
) -> Any:
    """Send the form as it was loaded, with some changes."""
    return await client.change(path, headers, data=read_form_fields(await load_page(client)) | dict(changes))


async def test_save_without_edits_leaves_the_file_unchanged(tmp_path: Path) -> None:
    source = {"workflows": ["a", {"id": "<b>", "user_id": 'ü "1"'}], "version": ""}
    async with settings_page_client(tmp_path, source=source, event={"detail_type": 'A "quoted" <type>'}) as client:
        before = client.context.config_source.file.read_bytes()
        response = await send(client, {})
        assert (response.status, response.headers["Location"]) == (303, "/settings?saved")
        assert client.context.config_source.file.read_bytes() == before


async def test_save_writes_file_and_vault_and_logs_the_fields(tmp_path: Path) -> None:
    async with settings_page_client(tmp_path) as client:
        with capture_logs() as logs:
            response = await send(client, {"destination.region": "us-east-1", "source.workflows": "w"} | KEYS)
        assert response.status == 303
        settings = load(client.context.config_source)
        assert (settings.destination.region, str(settings.source.workflows[0])) == ("us-east-1", "w")
        assert client.context.config_source.file.read_text().startswith("# ours\n")
        vault = Vault.open(client.context.config_source, settings)
        assert {name: (secret := vault.reveal(name)) and secret.get_secret_value() for name in KEYS} == KEYS
        (audit,) = [line for line in logs if line["event"] == "changed in web UI"]
        assert set(audit["fields"]) == {"destination.region", "source.workflows", *KEYS}
        assert not [value for value in [*KEYS.values(), "us-east-1"] if value in str(logs)]


async def test_save_works_on_the_file_that_init_creates(tmp_path: Path) -> None:
    async with settings_page_client(tmp_path) as client:
        text = (
            template().replace('event_bus = ""', f'event_bus = "{BUS}"').replace('region = ""', f'region = "{REGION}"')
        )
        client.context.config_source.file.write_text(text)
        response = await send(client, {"destination.region": "us-east-1", "source.workflows": "w"})
        assert (response.status, response.headers.get("Location")) == (303, "/settings?saved")
        assert load(client.context.config_source).destination.region == "us-east-1"


async def test_page_contains_only_the_end_of_a_secret(tmp_path: Path) -> None:
    async with settings_page_client(tmp_path) as client:
        refused = await send(client, {"destination.region": "Mars"} | KEYS)
        tried = await send(client, {"destination.region": "Mars"} | KEYS, "/settings/check")
        for text in (await load_page(client), await refused.text(), await tried.text()):
            assert f'ends with <span class="code">{SECRETS["aws-access-key-id"][-4:]}</span>' in text
            assert not [secret for secret in [*SECRETS.values(), *KEYS.values()] if secret in text]


async def test_fault_is_shown_beside_its_field(tmp_path: Path) -> None:
    async with settings_page_client(tmp_path) as client:
        before = client.context.config_source.file.read_bytes()
        response = await send(client, {"destination.region": "Mars", "event.source": "mine"})
        text = await response.text()
        assert response.status == 422
        assert '<p class="fault" id="fault-destination.region">Is not an AWS region such as eu-west-1</p>' in text
        assert read_form_fields(text)["destination.region"] == "Mars"
        assert read_form_fields(text)["event.source"] == "mine"
        assert client.context.config_source.file.read_bytes() == before


async def test_field_set_by_the_environment_is_read_only(tmp_path: Path) -> None:
    environ = {"FORWARDER_DESTINATION__REGION": "eu-west-3", "FORWARDER_ENABLED": "false"}
    async with settings_page_client(tmp_path, environ) as client:
        text = await load_page(client)
        assert re.search(r'name="destination.region"[^>]* value="eu-west-3"[^>]* readonly', text)
        assert "Set by the variable <code>FORWARDER_DESTINATION__REGION</code>" in text
        assert (await send(client, {"destination.region": "us-east-1"})).status == 303
        assert REGION in client.context.config_source.file.read_text()
        switched = await send(client, {"on": "yes"}, "/switch")
        assert switched.status == 409
        assert "FORWARDER_ENABLED" in await switched.text()


@pytest.mark.parametrize("on", ["yes", ""])
async def test_switch_changes_one_line_of_the_file(tmp_path: Path, on: str) -> None:
    async with settings_page_client(tmp_path, enabled=not on) as client:
        object.__setattr__(
            client.context, "settings", lambda: load(client.context.config_source)
        )  # as a daemon reloads them
        before = client.context.config_source.file.read_text()
        response = await send(client, {"on": on, "from": "settings"}, "/switch")
        assert (response.status, response.headers["Location"]) == (303, "/settings")
        was, now = (str(not on).lower(), str(bool(on)).lower())
        assert client.context.config_source.file.read_text() == before.replace(f"enabled = {was}", f"enabled = {now}")


async def test_page_works_with_an_invalid_settings_file(tmp_path: Path) -> None:
    async with settings_page_client(tmp_path, run={"log_level": "loud"}) as client:
        assert "run.log_level" in await load_page(client)
        assert "run.log_level" in await (await send(client, {"destination.region": "us-east-1"})).text()


async def test_check_uses_the_form_and_saves_nothing(tmp_path: Path) -> None:
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        alloy.api.add_workflow("w")
        destination = {"event_bus": "another", "region": REGION, "endpoint_url": bus.url}
        async with settings_page_client(tmp_path, source={"base_url": alloy.url}, destination=destination) as client:
            before = client.context.config_source.file.read_bytes()
            filled = {"destination.event_bus": BUS, "source.workflows": "w"} | KEYS
            response = await send(client, filled, "/settings/check", STEPS_ONLY)
            lines = (await response.text()).splitlines()
            first_words = [re.sub(r"<[^>]+>", "", line).split()[0] for line in lines]
            assert first_words == ["Settings", "Logs", "Workflows", "AWS", "Event"]
            assert not [line for line in lines if "is-failed" in line]
            wrong = await send(client, filled | {"aws-secret-access-key": "wrong"}, "/settings/check", STEPS_ONLY)
            assert [("is-failed" in line) for line in (await wrong.text()).splitlines()] == [False] * 3 + [True] * 2
            page = await (await send(client, filled, "/settings/check")).text()
            assert page.count("<li>") == 5
            assert page.rstrip().endswith("</html>")
            assert client.context.config_source.file.read_bytes() == before


async def test_test_event_has_its_detail_type_and_shows_its_event_id(tmp_path: Path) -> None:
    with StrictEventBridge() as bus:
        destination = {"event_bus": BUS, "region": REGION, "endpoint_url": bus.url}
        async with settings_page_client(tmp_path, destination=destination) as client:
            steps = await (await send(client, KEYS, "/settings/test", STEPS_ONLY)).text()
            (event,) = bus.delivered
            assert f"<code>{event.event_id}</code>" in steps
            assert (event.entry["Source"], event.entry["DetailType"]) == ("alloy.embedded", "Forwarder Test")
            assert event.detail["test"] is True
            bus.next(entry_codes({0: "NotAuthorizedForDetailTypeException"}), entry_codes({0: "InternalFailure"}))
            for code in ("NotAuthorizedForDetailTypeException", "InternalFailure"):
                steps = await (await send(client, KEYS, "/settings/test", STEPS_ONLY)).text()
                assert "is-failed" in steps
                assert code in steps
            assert len(bus.delivered) == 1


@pytest.mark.parametrize(
    ("queue_address", "reason"),
    [("", f"there is no queue {BUS}-canary"), ("http://127.0.0.1:9", "127.0.0.1:9 cannot be reached")],
)
async def test_unreadable_queue_leaves_the_arrival_unproved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queue_address: str, reason: str
) -> None:
    """The test event itself was accepted. Nobody has to create the queue."""
    if queue_address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", queue_address)
    with StrictEventBridge() as bus:
        destination = {"event_bus": BUS, "region": REGION, "endpoint_url": bus.url}
        async with settings_page_client(tmp_path, destination=destination) as client:
            steps = await (await send(client, KEYS, "/settings/test", STEPS_ONLY)).text()
    published, arrival = steps.splitlines()
    assert "EventId" in published
    assert 'class="is-skipped"' in arrival
    assert "Arrival" in arrival
    assert "not proved, although the bus accepted the event" in arrival
    assert reason in arrival
    assert "is-failed" not in steps


async def test_form_older_than_the_file_is_refused(tmp_path: Path) -> None:
    async with settings_page_client(tmp_path) as client:
        form = read_form_fields(await load_page(client))
        file = client.context.config_source.file
        file.write_text(file.read_text() + '\n[event]\nsource = "by.hand"\n')
        response = await client.change("/settings", data=form | {"event.detail_type": "Mine"})
        assert response.status == 422
        assert "has changed since this page was loaded" in await response.text()
        assert load(client.context.config_source).event.source == "by.hand"
        assert (await send(client, {"event.detail_type": "Mine"})).status == 303
        assert (
            load(client.context.config_source).event.source,
            load(client.context.config_source).event.detail_type,
        ) == ("by.hand", "Mine")


async def test_refused_save_marks_the_first_field_and_lost_secrets(tmp_path: Path) -> None:
    async with settings_page_client(tmp_path) as client:
        changes = {"event.source": "aws.mine", "destination.region": "Mars"} | KEYS
        text = await (await send(client, changes)).text()
        assert re.findall(r'name="([^"]+)"[^>]* autofocus', text) == ["destination.region"]
        lost = (
            "Enter again before you save, because the page keeps no secret: Access key ID, Secret access key, API key."
        )
        assert lost in text
        assert not [secret for secret in KEYS.values() if secret in text]
        assert "autofocus" not in await load_page(client)


async def test_invalid_value_of_the_file_is_shown_and_corrected(tmp_path: Path) -> None:
    """A value that equals the one in force is a change, if the file has another one."""
    async with settings_page_client(tmp_path, destination={"event_bus": BUS, "region": "Mars"}) as client:
        in_force = client.context.settings().destination.region
        page = await load_page(client)
        assert read_form_fields(page)["destination.region"] == "Mars"
        assert 'id="fault-destination.region"' in page
        assert (await send(client, {"destination.region": in_force})).status == 303
        assert load(client.context.config_source).destination.region == in_force


async def test_long_message_is_clamped(tmp_path: Path) -> None:
    with FakeAlloy() as alloy:
        workflows = [f"unknown-{number}" for number in range(20)]
        source = {"base_url": alloy.url, "workflows": workflows}
        async with settings_page_client(tmp_path, source=source) as client:
            steps = await (await send(client, KEYS, "/settings/check", STEPS_ONLY)).text()
            assert '<details class="long"><summary><span class="clamp">20 of 20 cannot be polled' in steps


async def test_page_without_script_names_the_secrets_to_enter_again(tmp_path: Path) -> None:
    """The page after a check holds no secret either, so a save after it would lose them silently."""
    async with settings_page_client(tmp_path, source={"base_url": "http://127.0.0.1:1"}) as client:
        for path in ("/settings/check", "/settings/workflows"):
            text = await (await send(client, {"alloy-api-key": API_KEY}, path)).text()
            assert "Enter again before you save, because the page keeps no secret: API key." in text
            assert API_KEY not in text


@pytest.mark.parametrize("content", ["[destination", "destination = 3\nsource = 3\n"])
async def test_page_works_with_a_file_that_is_no_settings_file(tmp_path: Path, content: str) -> None:
    async with settings_page_client(tmp_path) as client:
        client.context.config_source.file.write_text(content)
        assert (await client.get("/settings")).status == 200
        for path in ("/settings/check", "/settings/test", "/settings/workflows", "/settings"):
            response = await send(client, {"destination.region": "eu-west-1", "source.workflows": "w"}, path)
            assert response.status == (422 if path == "/settings" else 200)
        assert client.context.config_source.file.read_text() == content
