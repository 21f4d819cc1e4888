"""The settings page, asked over a socket, before real files and the two fakes."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from structlog.testing import capture_logs

from forwarder.settings import Place, load
from forwarder.settings.reference import template
from forwarder.vault import Vault
from forwarder.web.pages import FORM_TOKEN
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.bus_faults import entry_codes
from tests.fakes.eventbridge import BUS, KEY, REGION, StrictEventBridge
from tests.loops import looped
from tests.vault.homes import SECRETS
from tests.web.visit import Visit, visit

ALONE = {"X-Steps-Alone": "1"}

KEYS = {"aws-access-key-id": KEY.id, "aws-secret-access-key": KEY.secret, "alloy-api-key": API_KEY}


@asynccontextmanager
async def at_home(folder: Path, environ: Mapping[str, str] | None = None, **sections: Any) -> AsyncIterator[Visit]:
    """Somebody logged in, before a settings file with these sections."""
    async with visit(folder) as at:
        table = {"enabled": False, "destination": {"event_bus": BUS, "region": REGION}} | sections
        at.desk.place.file.write_text("# ours\n" + tomlkit.dumps(table))
        object.__setattr__(at.desk, "place", Place(at.desk.place.file, environ or {}))
        await at.log_in()
        yield at


async def page_of(at: Visit) -> str:
    return await (await at.get("/settings")).text()


def shown(page: str) -> dict[str, str]:
    """The form as a browser would send it back."""
    inputs = re.findall(r'<input type="(?:text|password|hidden)" name="([^"]+)"[^>]*?(?: value="([^"]*)")?', page)
    values = {
        name: unescape(found[1])
        for name, _ in inputs
        if (found := re.search(rf'name="{re.escape(name)}"[^>]* value="([^"]*)"', page))
    }
    areas = re.findall(r'<textarea name="([^"]+)"[^>]*>\n?(.*?)</textarea>', page, re.DOTALL)
    return values | {name: unescape(text) for name, text in areas}


async def send(
    at: Visit, changes: Mapping[str, str], path: str = "/settings", headers: Mapping[str, str] | None = None
) -> Any:
    """The form as it was shown, but for what a person changed."""
    return await at.change(path, headers, data=shown(await page_of(at)) | dict(changes))


@looped
async def test_what_is_sent_back_as_it_was_shown_changes_nothing(tmp_path: Path) -> None:
    source = {"workflows": ["a", {"id": "<b>", "user_id": 'ü "1"'}], "version": ""}
    async with at_home(tmp_path, source=source, event={"detail_type": 'A "quoted" <type>'}) as at:
        before = at.desk.place.file.read_bytes()
        answer = await send(at, {})
        assert (answer.status, answer.headers["Location"]) == (303, "/settings?saved")
        assert at.desk.place.file.read_bytes() == before


@looped
async def test_what_is_saved_is_in_the_file_and_the_vault_and_the_log_tells_the_fields_alone(tmp_path: Path) -> None:
    async with at_home(tmp_path) as at:
        with capture_logs() as logs:
            answer = await send(at, {"destination.region": "us-east-1", "source.workflows": "w"} | KEYS)
        assert answer.status == 303
        settings = load(at.desk.place)
        assert (settings.destination.region, str(settings.source.workflows[0])) == ("us-east-1", "w")
        assert at.desk.place.file.read_text().startswith("# ours\n")
        vault = Vault.open(at.desk.place, settings)
        assert {name: (secret := vault.reveal(name)) and secret.get_secret_value() for name in KEYS} == KEYS
        (audit,) = [line for line in logs if line["event"] == "changed from the page"]
        assert set(audit["fields"]) == {"destination.region", "source.workflows", *KEYS}
        assert not [value for value in [*KEYS.values(), "us-east-1"] if value in str(logs)]


@looped
async def test_save_works_on_the_file_that_init_makes(tmp_path: Path) -> None:
    async with at_home(tmp_path) as at:
        text = (
            template().replace('event_bus = ""', f'event_bus = "{BUS}"').replace('region = ""', f'region = "{REGION}"')
        )
        at.desk.place.file.write_text(text)
        answer = await send(at, {"destination.region": "us-east-1", "source.workflows": "w"})
        assert (answer.status, answer.headers.get("Location")) == (303, "/settings?saved")
        assert load(at.desk.place).destination.region == "us-east-1"


@looped
async def test_a_secret_is_never_shown_but_for_its_end(tmp_path: Path) -> None:
    async with at_home(tmp_path) as at:
        refused = await send(at, {"destination.region": "Mars"} | KEYS)
        tried = await send(at, {"destination.region": "Mars"} | KEYS, "/settings/check")
        for text in (await page_of(at), await refused.text(), await tried.text()):
            assert f'ends with <span class="code">{SECRETS["aws-access-key-id"][-4:]}</span>' in text
            assert not [secret for secret in [*SECRETS.values(), *KEYS.values()] if secret in text]


@looped
async def test_what_is_wrong_is_told_beside_its_field_and_what_was_typed_stays(tmp_path: Path) -> None:
    async with at_home(tmp_path) as at:
        before = at.desk.place.file.read_bytes()
        answer = await send(at, {"destination.region": "Mars", "event.source": "mine"})
        text = await answer.text()
        assert answer.status == 422
        assert '<p class="fault" id="fault-destination.region">Is not an AWS region such as eu-west-1</p>' in text
        assert shown(text)["destination.region"] == "Mars"
        assert shown(text)["event.source"] == "mine"
        assert at.desk.place.file.read_bytes() == before


@looped
async def test_what_the_environment_sets_is_said_to_be_so_and_not_changed(tmp_path: Path) -> None:
    environ = {"FORWARDER_DESTINATION__REGION": "eu-west-3", "FORWARDER_ENABLED": "false"}
    async with at_home(tmp_path, environ) as at:
        text = await page_of(at)
        assert re.search(r'name="destination.region"[^>]* value="eu-west-3"[^>]* readonly', text)
        assert "Set by the variable <code>FORWARDER_DESTINATION__REGION</code>" in text
        assert (await send(at, {"destination.region": "us-east-1"})).status == 303
        assert REGION in at.desk.place.file.read_text()
        switched = await send(at, {"on": "yes"}, "/switch")
        assert switched.status == 409
        assert "FORWARDER_ENABLED" in await switched.text()


@pytest.mark.parametrize("on", ["yes", ""])
@looped
async def test_the_switch_edits_its_one_line(tmp_path: Path, on: str) -> None:
    async with at_home(tmp_path, enabled=not on) as at:
        object.__setattr__(at.desk, "settings", lambda: load(at.desk.place))  # as a daemon takes them up
        before = at.desk.place.file.read_text()
        answer = await send(at, {"on": on, "from": "settings"}, "/switch")
        assert (answer.status, answer.headers["Location"]) == (303, "/settings")
        was, now = (str(not on).lower(), str(bool(on)).lower())
        assert at.desk.place.file.read_text() == before.replace(f"enabled = {was}", f"enabled = {now}")


@looped
async def test_a_settings_file_that_is_not_valid_is_told_and_its_page_still_comes(tmp_path: Path) -> None:
    async with at_home(tmp_path, run={"log_level": "loud"}) as at:
        assert "run.log_level" in await page_of(at)
        assert "run.log_level" in await (await send(at, {"destination.region": "us-east-1"})).text()


@looped
async def test_what_stands_in_the_form_is_tried_and_not_saved(tmp_path: Path) -> None:
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        alloy.api.add_workflow("w")
        destination = {"event_bus": "another", "region": REGION, "endpoint_url": bus.url}
        async with at_home(tmp_path, source={"base_url": alloy.url}, destination=destination) as at:
            before = at.desk.place.file.read_bytes()
            filled = {"destination.event_bus": BUS, "source.workflows": "w"} | KEYS
            answer = await send(at, filled, "/settings/check", ALONE)
            lines = (await answer.text()).splitlines()
            assert [re.sub(r"<[^>]+>", "", line).split()[0] for line in lines] == ["Settings", "Logs", "AWS", "Event"]
            assert not [line for line in lines if "is-wrong" in line]
            wrong = await send(at, filled | {"aws-secret-access-key": "wrong"}, "/settings/check", ALONE)
            assert [("is-wrong" in line) for line in (await wrong.text()).splitlines()] == [False, False, True, True]
            page = await (await send(at, filled, "/settings/check")).text()
            assert page.count("<li>") == 4
            assert page.rstrip().endswith("</html>")
            assert at.desk.place.file.read_bytes() == before


@looped
async def test_a_script_is_given_the_next_form_token_with_the_steps(tmp_path: Path) -> None:
    async with at_home(tmp_path) as at:
        answer = await send(at, {"destination.region": "Mars"}, "/settings/check", ALONE)
        assert "is-wrong" in await answer.text()
        following = {FORM_TOKEN: answer.headers["X-Form-Token"], "on": "yes"}
        assert (await at.change("/switch", data=following)).status == 303


@looped
async def test_a_test_event_has_a_detail_type_of_its_own_and_its_event_id_is_shown(tmp_path: Path) -> None:
    with StrictEventBridge() as bus:
        destination = {"event_bus": BUS, "region": REGION, "endpoint_url": bus.url}
        async with at_home(tmp_path, destination=destination) as at:
            told = await (await send(at, KEYS, "/settings/test", ALONE)).text()
            (event,) = bus.delivered
            assert f"<code>{event.event_id}</code>" in told
            assert (event.entry["Source"], event.entry["DetailType"]) == ("alloy.embedded", "Forwarder Test")
            assert event.detail["test"] is True
            bus.next(entry_codes({0: "NotAuthorizedForDetailTypeException"}), entry_codes({0: "InternalFailure"}))
            for code in ("NotAuthorizedForDetailTypeException", "InternalFailure"):
                told = await (await send(at, KEYS, "/settings/test", ALONE)).text()
                assert "is-wrong" in told
                assert code in told
            assert len(bus.delivered) == 1


@looped
async def test_a_form_that_was_shown_before_the_file_changed_undoes_nothing(tmp_path: Path) -> None:
    async with at_home(tmp_path) as at:
        form = shown(await page_of(at))
        file = at.desk.place.file
        file.write_text(file.read_text() + '\n[event]\nsource = "by.hand"\n')
        answer = await at.change("/settings", data=form | {"event.detail_type": "Mine"})
        assert answer.status == 422
        assert "has changed since this page was shown" in await answer.text()
        assert load(at.desk.place).event.source == "by.hand"
        assert (await send(at, {"event.detail_type": "Mine"})).status == 303
        assert (load(at.desk.place).event.source, load(at.desk.place).event.detail_type) == ("by.hand", "Mine")
