"""Sessions that survive a restart of the daemon, and their file."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from forwarder.ledger import SqliteLedger
from forwarder.vault import WEB_TOKEN
from forwarder.web.server import run_web_server
from forwarder.web.sessions import MAX_IDLE_SECONDS, Sessions
from forwarder.web.tokens import issue_token
from tests.virtual_clock import NOON, QuickClock
from tests.web.client import WebClient, browser, create_context, web_client

MINUTE = timedelta(minutes=1)


@asynccontextmanager
async def restarted(client: WebClient, folder: Path, *, after: timedelta = MINUTE) -> AsyncIterator[WebClient]:
    """Serve the web UI of another process with the cookies of a client. Its wall clock is `after` the client's."""
    config_source, settings = client.context.config_source, client.context.settings()
    async with SqliteLedger(folder / "second.db", create=True) as ledger:
        context, clock, triggered = create_context(config_source, ledger, settings)
        clock.jump(client.clock.now() - clock.now() + after)
        async with run_web_server(context) as addresses, browser(addresses.web_ui) as session:
            second = WebClient(session, addresses, context, clock, client.token, triggered)
            session.cookie_jar.update_cookies({second.cookie_name: client.cookies[client.cookie_name]})
            yield second


@pytest.mark.parametrize(("seconds", "survives"), [(MAX_IDLE_SECONDS - 1, True), (MAX_IDLE_SECONDS, False)])
async def test_session_survives_a_crash_within_its_idle_time(
    tmp_path: Path, seconds: float, survives: bool
) -> None:  # a parameter of pytest
    async with web_client(tmp_path) as client:
        await client.log_in()
        async with restarted(client, tmp_path, after=timedelta(seconds=seconds)) as second:
            assert await second.is_logged_in() is survives


async def test_idle_time_is_saved_when_the_daemon_stops(tmp_path: Path) -> None:
    """The login was long ago, and the last request was not."""
    async with web_client(tmp_path) as client:
        await client.log_in()
        for _ in range(3):
            client.clock.advance(MAX_IDLE_SECONDS / 2)
            assert await client.is_logged_in()
    async with restarted(client, tmp_path) as second:
        assert await second.is_logged_in()


async def test_session_that_was_logged_out_stays_logged_out(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        kept = dict(client.cookies)
        await client.change("/logout")
        client.browser.cookie_jar.update_cookies(kept)
        async with restarted(client, tmp_path) as second:
            assert not await second.is_logged_in()


async def test_session_of_an_earlier_admin_token_ends(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        issue_token(client.context.config_source, client.context.settings(), WEB_TOKEN, NOON)
        async with restarted(client, tmp_path) as second:
            assert not await second.is_logged_in()


async def test_clock_set_back_ends_the_saved_sessions(tmp_path: Path) -> None:
    """The time since the save is unknown, and could be longer than a session lasts."""
    async with web_client(tmp_path) as client:
        await client.log_in()
        async with restarted(client, tmp_path, after=-MINUTE) as second:
            assert not await second.is_logged_in()


async def test_clock_set_back_while_running_does_not_extend(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        client.clock.jump(-timedelta(days=1))
        client.clock.advance(MAX_IDLE_SECONDS)
    async with restarted(client, tmp_path) as second:
        assert not await second.is_logged_in()


async def test_idle_page_writes_nothing(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        file = tmp_path / "forwarder.sessions.json"
        before = file.stat()
        for path in ("/", "/status/stream", "/status/contact", "/settings"):
            client.clock.advance(60)
            await client.get(path)
        after = file.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_file_is_private_and_holds_no_secret(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        file = tmp_path / "forwarder.sessions.json"
        assert file.stat().st_mode & 0o777 == 0o600
        cookie, digest = client.cookies[client.cookie_name], client.token
        assert not any(secret in file.read_text() for secret in (cookie, digest))
        await client.change("/logout")
        assert not file.exists()


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"saved_at": "2026-11-02T12:00:00Z", "sessions": {"x": 1}}'])
def test_damaged_file_is_ignored_and_replaced(tmp_path: Path, content: str) -> None:
    file, clock = tmp_path / "forwarder.sessions.json", QuickClock()
    file.write_text(content)
    file.chmod(0o600)
    with capture_logs() as lines:
        sessions = Sessions(clock, file)
    assert [line["event"] for line in lines] == ["sessions not loaded"]
    cookie, _ = sessions.create("digest")
    assert Sessions(clock, file).find(cookie, "digest")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o644])
def test_file_that_other_users_may_access_is_ignored(tmp_path: Path, mode: int) -> None:
    file, clock = tmp_path / "forwarder.sessions.json", QuickClock()
    cookie, _ = Sessions(clock, file).create("digest")
    file.chmod(mode)
    sessions = Sessions(clock, file)
    assert sessions.find(cookie, "digest") is None
    sessions.create("digest")
    assert file.stat().st_mode & 0o777 == 0o600


def test_failed_write_costs_only_the_survival(tmp_path: Path) -> None:
    """The old file is removed, because it has the session that is logged out."""
    folder = tmp_path / "vault"
    folder.mkdir()
    file, clock = folder / "forwarder.sessions.json", QuickClock()
    sessions = Sessions(clock, file)
    (ended, _), (kept, _) = sessions.create("digest"), sessions.create("digest")
    file.rename(tmp_path / "moved.json")
    folder.rmdir()
    with capture_logs() as lines:
        sessions.end(ended)
    assert [line["event"] for line in lines] == ["sessions not saved"]
    assert sessions.find(kept, "digest")
    assert sessions.find(ended, "digest") is None


def test_file_has_durations_instead_of_times(tmp_path: Path) -> None:
    file, clock = tmp_path / "forwarder.sessions.json", QuickClock()
    sessions = Sessions(clock, file)
    cookie, _ = sessions.create("digest")
    clock.advance(60)
    sessions.find(cookie, "digest")
    clock.advance(5)
    sessions.save()
    (saved,) = json.loads(file.read_text())["sessions"].values()
    assert (saved["age_seconds"], saved["idle_seconds"]) == (65, 5)
    assert list(tmp_path.iterdir()) == [file]
