"""Logging in and out, and how long it lasts."""

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


async def test_the_admin_token_opens_the_page(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        assert not await client.is_in()
        answer = await client.log_in()
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        assert await client.is_in()
        assert (await client.get("/login")).status == 303


@pytest.mark.parametrize("token", ["", " ", "x", "é", "a" * 1000, "\ud800"])
async def test_no_other_one_does(tmp_path: Path, token: str) -> None:
    async with web_client(tmp_path) as client:
        answer = await client.log_in(token.encode(errors="replace").decode())
        assert answer.status == 401
        assert "Set-Cookie" not in answer.headers
        assert not await client.is_in()


async def test_the_cookie_is_for_this_page_alone(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        cookie = (await client.log_in()).cookies["forwarder"]
        kept = {name: cookie[name] for name in ("httponly", "samesite", "path", "domain", "secure")}
        assert kept == {"httponly": True, "samesite": "Strict", "path": "/", "domain": "", "secure": ""}
        assert int(cookie["max-age"]) <= MAX_AGE_SECONDS


async def test_under_tls_the_cookie_is_never_sent_without_it(tmp_path: Path) -> None:
    async with web_client(tmp_path, **create_certificate(tmp_path)) as client:
        assert client.addresses.web_ui.startswith("https://")
        cookie = (await client.log_in()).cookies["__Host-forwarder"]
        assert cookie["secure"] is True
        assert await client.is_in()


async def test_a_session_that_is_not_used_ends(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        for _ in range(3):
            client.clock.advance(MAX_IDLE_SECONDS - 1)
            assert await client.is_in()
        client.clock.advance(MAX_IDLE_SECONDS)
        assert not await client.is_in()


async def test_a_session_that_is_used_all_the_time_ends_too(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        for _ in range(int(MAX_AGE_SECONDS / (MAX_IDLE_SECONDS / 2)) - 1):
            client.clock.advance(MAX_IDLE_SECONDS / 2)
            assert await client.is_in()
        client.clock.advance(MAX_IDLE_SECONDS / 2)
        assert not await client.is_in()


async def test_logging_out_ends_the_session_and_not_only_the_cookie(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        cookie = (await client.log_in()).cookies["forwarder"].value
        assert (await client.change("/logout")).status == 303
        assert not await client.is_in()
        client.browser.cookie_jar.update_cookies({"forwarder": cookie})
        assert not await client.is_in()


async def test_a_new_admin_token_ends_every_session_at_once(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        new = issue_token(client.context.config_source, client.context.settings(), WEB_TOKEN, NOON)
        assert not await client.is_in()
        assert (await client.log_in()).status == 401
        assert (await client.log_in(new)).status == 303


async def log_out(client: WebClient) -> None:
    await client.change("/logout")


async def renew_token(client: WebClient) -> None:
    issue_token(client.context.config_source, client.context.settings(), WEB_TOKEN, NOON)


async def expire_session(client: WebClient) -> None:
    client.clock.advance(MAX_IDLE_SECONDS)


@pytest.mark.parametrize("end", [log_out, renew_token, expire_session])
async def test_a_stream_ends_with_its_session(tmp_path: Path, end: Callable[[WebClient], Awaitable[None]]) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        async with client.browser.get("/status/stream") as stream:
            await stream.content.readuntil(b"\n\n")
            await end(client)
            await asyncio.wait_for(stream.read(), 20)
            assert stream.content.at_eof()


async def test_to_follow_the_stream_is_not_to_use_the_page(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        async with client.browser.get("/status/stream") as stream:
            await stream.content.readuntil(b"\n\n")
            client.clock.advance(MAX_IDLE_SECONDS / 2)
            await stream.content.readuntil(b"\n\n")
            client.clock.advance(MAX_IDLE_SECONDS / 2)
            await asyncio.wait_for(stream.read(), 20)


async def test_a_vault_that_does_not_open_lets_nobody_in(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        (tmp_path / "forwarder.keys").write_text("{}")
        assert not await client.is_in()
        assert (await client.log_in()).status == 401
        assert (await client.get("/livez")).status == 200


async def test_logins_are_rate_limited_for_each_client(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        assert [(await client.log_in("wrong")).status for _ in range(LOGIN_BURST + 1)] == [401] * LOGIN_BURST + [429]
        answer = await client.log_in()
        assert (answer.status, answer.headers["Retry-After"]) == (429, str(int(LOGIN_INTERVAL_SECONDS)))
        client.clock.advance(LOGIN_INTERVAL_SECONDS)
        assert (await client.log_in()).status == 303


async def test_logins_are_logged_without_what_was_typed(tmp_path: Path) -> None:
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


def test_so_many_sessions_are_kept_and_the_one_idle_longest_makes_room() -> None:
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


async def test_vault_that_cannot_be_read_is_logged_and_refuses_tokens(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        source, settings = client.context.config_source, client.context.settings()
        source.path(settings.vault.file).write_text("not a vault")
        with capture_logs() as lines:
            assert (await client.log_in(client.token)).status != 303
    logged = [line for line in lines if line["event"] == "cannot read tokens"]
    assert {(line["log_level"], bool(line["reason"]), bool(line["hint"])) for line in logged} == {("error", True, True)}
