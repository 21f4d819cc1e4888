"""Saves on the settings page while another program changes the file, and in a folder without locks."""

import asyncio
import errno
import fcntl
from pathlib import Path
from typing import Any

import pytest

from forwarder.errors import SettingsError, VaultError
from forwarder.settings import load
from forwarder.settings.edit import locked_file, replace_values, set_value
from forwarder.vault import WEB_TOKEN
from forwarder.web import settings_page
from forwarder.web.settings_page import FILE_CHANGED
from forwarder.web.tokens import issue_token
from tests.virtual_clock import NOON
from tests.web.test_settings_page import load_page, read_form_fields, settings_page_client


async def test_save_that_waits_for_another_does_not_undo_it(tmp_path: Path) -> None:
    """The other save holds the lock while this form is received."""
    async with settings_page_client(tmp_path) as client:
        config_source = client.context.config_source
        form = read_form_fields(await load_page(client))
        with locked_file(config_source):
            saving = asyncio.create_task(client.change("/settings", data=form | {"event.source": "tab.two"}))
            await asyncio.sleep(0.5)
            replace_values(config_source, {"destination.event_bus": "bus-of-tab-one"})
        response = await saving
        assert response.status == 422
        assert FILE_CHANGED in await response.text()
        settings = load(config_source)
        assert (settings.destination.event_bus, settings.event.source) == ("bus-of-tab-one", "alloy.embedded")


async def test_save_does_not_undo_a_change_by_an_editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor takes no lock: it writes the file while the form is compared with it."""
    async with settings_page_client(tmp_path) as client:
        file = client.context.config_source.file
        form = read_form_fields(await load_page(client))
        edited = file.read_text() + '\n[run]\nlog_level = "debug"\n'
        read_changes = settings_page.read_changes

        def compare(*arguments: Any) -> Any:
            file.write_text(edited)
            return read_changes(*arguments)

        monkeypatch.setattr(settings_page, "read_changes", compare)
        response = await client.change("/settings", data=form | {"event.source": "tab.two"})
        assert response.status == 422
        assert file.read_text() == edited


async def test_form_sent_twice_at_once_is_saved_once(tmp_path: Path) -> None:
    async with settings_page_client(tmp_path) as client:
        form = read_form_fields(await load_page(client)) | {"event.source": "sent.twice"}
        responses = await asyncio.gather(*(client.change("/settings", data=form) for _ in range(2)))
        assert [response.status for response in responses] == [303, 303]
        assert load(client.context.config_source).event.source == "sent.twice"


def refuse_lock(*_: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


async def test_folder_without_locks_is_named_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with settings_page_client(tmp_path) as client:
        monkeypatch.setattr(fcntl, "flock", refuse_lock)
        changes = [("/switch", {"on": "yes"}, 409)]
        changes += [("/settings", data, 422) for data in ({"event.source": "x.y"}, {"alloy-api-key": "some-key-0001"})]
        for path, data, status in changes:
            response = await client.change(path, data=data)
            text = await response.text()
            assert response.status == status, path
            assert "its file system has no locks (No locks available)" in text
            assert "move it to a local disk" in text


async def test_folder_without_locks_is_an_error_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with settings_page_client(tmp_path) as client:
        config_source, settings = client.context.config_source, client.context.settings()
        monkeypatch.setattr(fcntl, "flock", refuse_lock)
        with pytest.raises(SettingsError, match="no locks") as refused:
            set_value(config_source, "enabled", value=True)
        assert refused.value.hint
        with pytest.raises(VaultError, match="no locks") as refused_token:
            issue_token(config_source, settings, WEB_TOKEN, NOON)
        assert refused_token.value.hint
