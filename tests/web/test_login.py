"""Login, logout, and the lifetime of a session."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from forwarder.vault import WEB_TOKEN
from forwarder.web.login import LOGIN_BURST, LOGIN_INTERVAL_SECONDS
from forwarder.web.sessions import MAX_AGE_SECONDS, MAX_IDLE_SECONDS, MAX_SESSIONS, Sessions
from forwarder.web.tokens import issue_token
from tests.virtual_clock import NOON, QuickClock
from tests.web.certificates import create_certificate
from tests.web.client import WebClient, web_client


async def test_login_with_the_admin_token_opens_a_session(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        assert not await client.is_logged_in()
        response = await client.log_in()
        assert (response.status, response.headers["Location"]) == (303, "/")
        assert await client.is_logged_in()
        assert (await client.get("/login")).status == 303


@pytest.mark.parametrize("token", ["", " ", "x", "é", "a" * 1000, "\ud800"])
async def test_login_with_another_token_is_refused(tmp_path: Path, token: str) -> None:
    async with web_client(tmp_path) as client:
        response = await client.log_in(token.encode(errors="replace").decode())
        assert response.status == 401
        assert "Set-Cookie" not in response.headers
        assert not await client.is_logged_in()


async def test_cookie_is_restricted_to_the_web_ui(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        cookie = (await client.log_in()).cookies[client.cookie_name]
        kept = {name: cookie[name] for name in ("httponly", "samesite", "path", "domain", "secure")}
        assert kept == {"httponly": True, "samesite": "Lax", "path": "/", "domain": "", "secure": ""}
        assert int(cookie["max-age"]) <= MAX_AGE_SECONDS


async def test_cookie_under_tls_is_secure(tmp_path: Path) -> None:
    async with web_client(tmp_path, **create_certificate(tmp_path)) as client:
        assert client.addresses.web_ui.startswith("https://")
        cookie = (await client.log_in()).cookies[f"__Host-{client.cookie_name}"]
        assert cookie["secure"] is True
        assert await client.is_logged_in()


async def test_idle_session_expires(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        for _ in range(3):
            client.clock.advance(MAX_IDLE_SECONDS - 1)
            assert await client.is_logged_in()
        client.clock.advance(MAX_IDLE_SECONDS)
        assert not await client.is_logged_in()


async def test_session_in_constant_use_expires_at_its_max_age(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        for _ in range(int(MAX_AGE_SECONDS / (MAX_IDLE_SECONDS / 2)) - 1):
            client.clock.advance(MAX_IDLE_SECONDS / 2)
            assert await client.is_logged_in()
        client.clock.advance(MAX_IDLE_SECONDS / 2)
        assert not await client.is_logged_in()


async def test_logout_ends_the_session_of_a_kept_cookie(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        cookie = (await client.log_in()).cookies[client.cookie_name].value
        assert (await client.change("/logout")).status == 303
        assert not await client.is_logged_in()
        client.browser.cookie_jar.update_cookies({client.cookie_name: cookie})
        assert not await client.is_logged_in()


async def test_new_admin_token_ends_every_session(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        new = issue_token(client.context.config_source, client.context.settings(), WEB_TOKEN, NOON)
        assert not await client.is_logged_in()
        assert (await client.log_in()).status == 401
        assert (await client.log_in(new)).status == 303


async def log_out(client: WebClient) -> None:
    await client.change("/logout")


async def renew_token(client: WebClient) -> None:
    issue_token(client.context.config_source, client.context.settings(), WEB_TOKEN, NOON)


async def expire_session(client: WebClient) -> None:
    client.clock.advance(MAX_IDLE_SECONDS)


@pytest.mark.parametrize("end", [log_out, renew_token, expire_session])
async def test_stream_ends_with_its_session(tmp_path: Path, end: Callable[[WebClient], Awaitable[None]]) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        async with client.browser.get("/status/stream") as stream:
            await stream.content.readuntil(b"\n\n")
            await end(client)
            await asyncio.wait_for(stream.read(), 20)
            assert stream.content.at_eof()


async def test_open_stream_does_not_keep_a_session_alive(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        async with client.browser.get("/status/stream") as stream:
            await stream.content.readuntil(b"\n\n")
            client.clock.advance(MAX_IDLE_SECONDS / 2)
            await stream.content.readuntil(b"\n\n")
            client.clock.advance(MAX_IDLE_SECONDS / 2)
            await asyncio.wait_for(stream.read(), 20)


async def test_damaged_vault_refuses_sessions_and_logins(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        (tmp_path / "forwarder.keys").write_text("{}")
        assert not await client.is_logged_in()
        assert (await client.log_in()).status == 401
        assert (await client.get("/livez")).status == 200


async def test_login_attempts_of_a_client_are_rate_limited(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        assert [(await client.log_in("wrong")).status for _ in range(LOGIN_BURST + 1)] == [401] * LOGIN_BURST + [429]
        response = await client.log_in()
        assert (response.status, response.headers["Retry-After"]) == (429, str(int(LOGIN_INTERVAL_SECONDS)))
        client.clock.advance(LOGIN_INTERVAL_SECONDS)
        assert (await client.log_in()).status == 303


async def test_login_is_logged_without_the_token(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        with capture_logs() as log:
            await client.log_in("a-wrong-token")
            await client.log_in()
        assert [(line["event"], line["caller"]) for line in log] == [
            ("login rejected", "127.0.0.1"),
            ("logged in", "127.0.0.1"),
        ]
        assert "a-wrong-token" not in str(log)
        assert client.token not in str(log)


def test_session_above_the_limit_replaces_the_longest_idle() -> None:
    clock = QuickClock()
    sessions = Sessions(clock)
    cookies = []
    for _ in range(MAX_SESSIONS):
        cookies.append(sessions.create("digest")[0])
        clock.advance(1)
    assert sessions.find(cookies[0], "digest")
    clock.advance(1)
    sessions.create("digest")
    assert sessions.find(cookies[0], "digest")
    assert sessions.find(cookies[1], "digest") is None


async def test_unreadable_vault_is_logged_and_refuses_tokens(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        source, settings = client.context.config_source, client.context.settings()
        source.path(settings.vault.file).write_text("not a vault")
        with capture_logs() as lines:
            assert (await client.log_in(client.token)).status != 303
    logged = [line for line in lines if line["event"] == "cannot read tokens"]
    assert {(line["log_level"], bool(line["reason"]), bool(line["hint"])) for line in logged} == {("error", True, True)}
