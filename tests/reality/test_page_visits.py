"""Unusual uses of the page: double clicks, sessions that end before the save, and proxies with a path."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from forwarder.errors import SettingsError
from forwarder.settings import ConfigSource, load
from forwarder.web.sessions import MAX_IDLE_SECONDS
from tests.e2e.harness import fail
from tests.fakes.alloy import FakeAlloy
from tests.harness.installation import Installation
from tests.web.test_settings_page import load_page, read_form_fields, settings_page_client


async def test_double_click_saves_once(tmp_path: Path) -> None:
    """A browser shows only the response to the second request, which must equal that to the first."""
    async with settings_page_client(tmp_path) as client:
        form = read_form_fields(await load_page(client)) | {"event.source": "twice"}
        answers = await asyncio.gather(client.change("/settings", data=form), client.change("/settings", data=form))
        assert [answer.status for answer in answers] == [303, 303]
        assert load(client.context.config_source).event.source == "twice"


async def test_repeated_old_form_changes_nothing(tmp_path: Path) -> None:
    """The back button and restored pages send old forms."""
    async with settings_page_client(tmp_path) as client:
        form = read_form_fields(await load_page(client)) | {"event.source": "first"}
        assert [(await client.change("/settings", data=form)).status for _ in range(2)] == [303, 303]
        later = read_form_fields(await load_page(client)) | {"event.source": "later"}
        assert (await client.change("/settings", data=later)).status == 303
        answer = await client.change("/settings", data=form)
        assert (answer.status, "has changed since" in await answer.text()) == (422, True)
        assert load(client.context.config_source).event.source == "later"


async def test_form_of_an_earlier_session_changes_nothing(tmp_path: Path) -> None:
    """The back button sends such a form after a new login or a restart of the daemon."""
    async with settings_page_client(tmp_path) as client:
        form = read_form_fields(await load_page(client)) | {"event.source": "late"}
        await client.change("/logout")
        await client.log_in()
        between = read_form_fields(await load_page(client)) | {"event.source": "between"}
        assert (await client.change("/settings", data=between)).status == 303
        assert (await client.change("/settings", data=form)).status == 422
        assert load(client.context.config_source).event.source == "between"


async def test_save_after_the_session_reports_no_change(tmp_path: Path) -> None:
    async with settings_page_client(tmp_path) as client:
        form = read_form_fields(await load_page(client)) | {"event.source": "late"}
        client.clock.advance(MAX_IDLE_SECONDS)
        answer = await client.change("/settings", data=form)
        assert answer.status == 401
        assert "nothing was changed" in await answer.text()
        assert load(client.context.config_source).event.source == "alloy.embedded"


async def test_pages_forbid_caching(tmp_path: Path) -> None:
    """Firefox restores hidden fields of a cached page, with the digest of an earlier settings file."""
    async with settings_page_client(tmp_path) as client:
        assert (await client.get("/settings")).headers["Cache-Control"] == "no-store"


def test_public_url_with_a_path_has_a_hint(tmp_path: Path) -> None:
    file = tmp_path / "forwarder.toml"
    file.write_text(
        '[destination]\nevent_bus = "b"\nregion = "eu-west-1"\n[web]\npublic_url = "https://ops.example.com/forwarder"\n'
    )
    with pytest.raises(SettingsError, match=r"web\.public_url has a path: the page needs a host name of its own"):
        load(ConfigSource(file, {}))


def test_fips_endpoint_of_the_environment_is_used(installation: Installation) -> None:
    """Both clients use the address of the SDK. Nothing responds there, and the error names the host."""
    installation.change("destination", endpoint_url=None)
    installation.env |= {"AWS_USE_FIPS_ENDPOINT": "true", "HTTPS_PROXY": "http://127.0.0.1:9"}
    assert "events-fips.eu-central-1.amazonaws.com" in installation.run_command("check").output


def test_fips_and_dual_stack_in_govcloud_use_the_host_of_the_sdk(installation: Installation, alloy: FakeAlloy) -> None:
    """Hosts with `-fips` in their names often do not exist there, and the SDK's rules know which ones do."""
    installation.change("destination", endpoint_url=None, region="us-gov-west-1", verify=False, timeout="2s")
    variables = {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"}
    installation.env |= variables | {"HTTPS_PROXY": "http://127.0.0.1:9"}
    fail(alloy, "a")
    done = installation.run_command("once", "--timeout", "2s")
    assert done.code == 69, done.output
    assert "events.us-gov-west-1.api.aws" in done.output
    assert "events-fips" not in done.output


def test_empty_environment_of_cron_is_enough(installation: Installation) -> None:
    installation.env |= {
        "PATH": "/usr/bin:/bin",
        "LANG": "",
        "HOME": "/nonexistent",
        "TZ": "Nowhere/City",
        "COLUMNS": "",
    }
    done = installation.run_command("status")
    assert done.code == 0, done
    assert "Traceback" not in installation.run_command("once").output
