"""Logging in and out, and how long it lasts."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from forwarder.vault import WEB_TOKEN
from forwarder.web.login import BURST, EVERY
from forwarder.web.pages import FORM_TOKEN
from forwarder.web.sessions import IDLE, LONGEST, MOST, Sessions
from forwarder.web.tokens import renew
from tests.clocks import NOON, QuickClock
from tests.loops import looped
from tests.web.tls import certified
from tests.web.visit import Visit, visit


@looped
async def test_the_admin_token_opens_the_page(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        assert not await at.is_in()
        answer = await at.log_in()
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        assert await at.is_in()
        assert (await at.get("/login")).status == 303


@pytest.mark.parametrize("token", ["", " ", "x", "é", "a" * 1000, "\ud800"])
@looped
async def test_no_other_one_does(tmp_path: Path, token: str) -> None:
    async with visit(tmp_path) as at:
        answer = await at.log_in(token.encode(errors="replace").decode())
        assert answer.status == 401
        assert "Set-Cookie" not in answer.headers
        assert not await at.is_in()


@looped
async def test_the_cookie_is_for_this_page_alone(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        cookie = (await at.log_in()).cookies["forwarder"]
        kept = {name: cookie[name] for name in ("httponly", "samesite", "path", "domain", "secure")}
        assert kept == {"httponly": True, "samesite": "Strict", "path": "/", "domain": "", "secure": ""}
        assert int(cookie["max-age"]) <= LONGEST


@looped
async def test_under_tls_the_cookie_is_never_sent_without_it(tmp_path: Path) -> None:
    async with visit(tmp_path, **certified(tmp_path)) as at:
        assert at.served.page.startswith("https://")
        cookie = (await at.log_in()).cookies["__Host-forwarder"]
        assert cookie["secure"] is True
        assert await at.is_in()


@looped
async def test_a_session_that_is_not_used_ends(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        for _ in range(3):
            at.clock.advance(IDLE - 1)
            assert await at.is_in()
        at.clock.advance(IDLE)
        assert not await at.is_in()


@looped
async def test_a_session_that_is_used_all_the_time_ends_too(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        for _ in range(int(LONGEST / (IDLE / 2)) - 1):
            at.clock.advance(IDLE / 2)
            assert await at.is_in()
        at.clock.advance(IDLE / 2)
        assert not await at.is_in()


@looped
async def test_logging_out_ends_the_session_and_not_only_the_cookie(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        cookie = (await at.log_in()).cookies["forwarder"].value
        assert (await at.change("/logout", data={FORM_TOKEN: await at.form_token()})).status == 303
        assert not await at.is_in()
        at.browser.cookie_jar.update_cookies({"forwarder": cookie})
        assert not await at.is_in()


@looped
async def test_a_new_admin_token_ends_every_session_at_once(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        new = renew(at.desk.place, at.desk.settings(), WEB_TOKEN, NOON)
        assert not await at.is_in()
        assert (await at.log_in()).status == 401
        assert (await at.log_in(new)).status == 303


async def log_out(at: Visit) -> None:
    await at.change("/logout", data={FORM_TOKEN: await at.form_token()})


async def renew_token(at: Visit) -> None:
    renew(at.desk.place, at.desk.settings(), WEB_TOKEN, NOON)


async def leave(at: Visit) -> None:
    at.clock.advance(IDLE)


@pytest.mark.parametrize("end", [log_out, renew_token, leave])
@looped
async def test_a_stream_ends_with_its_session(tmp_path: Path, end: Callable[[Visit], Awaitable[None]]) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        async with at.browser.get("/status/stream") as stream:
            await stream.content.readuntil(b"\n\n")
            await end(at)
            await asyncio.wait_for(stream.read(), 20)
            assert stream.content.at_eof()


@looped
async def test_to_follow_the_stream_is_not_to_use_the_page(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        async with at.browser.get("/status/stream") as stream:
            await stream.content.readuntil(b"\n\n")
            at.clock.advance(IDLE / 2)
            await stream.content.readuntil(b"\n\n")
            at.clock.advance(IDLE / 2)
            await asyncio.wait_for(stream.read(), 20)


@looped
async def test_a_vault_that_does_not_open_lets_nobody_in(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        (tmp_path / "forwarder.keys").write_text("{}")
        assert not await at.is_in()
        assert (await at.log_in()).status == 401
        assert (await at.get("/livez")).status == 200


@looped
async def test_tries_are_limited_for_each_caller_and_told_how_long(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        assert [(await at.log_in("wrong")).status for _ in range(BURST + 1)] == [401] * BURST + [429]
        answer = await at.log_in()
        assert (answer.status, answer.headers["Retry-After"]) == (429, str(int(EVERY)))
        at.clock.advance(EVERY)
        assert (await at.log_in()).status == 303


@looped
async def test_logins_are_logged_without_what_was_typed(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        with capture_logs() as log:
            await at.log_in("a-wrong-token")
            await at.log_in()
        assert [(line["event"], line["caller"]) for line in log] == [
            ("login refused", "127.0.0.1"),
            ("logged in", "127.0.0.1"),
        ]
        assert "a-wrong-token" not in str(log)
        assert at.token not in str(log)


def test_so_many_sessions_are_kept_and_the_one_idle_longest_makes_room() -> None:
    clock = QuickClock()
    sessions = Sessions(clock)
    cookies = []
    for _ in range(MOST):
        cookies.append(sessions.begin("digest")[0])
        clock.advance(1)
    assert sessions.find(cookies[0], "digest")
    clock.advance(1)
    sessions.begin("digest")
    assert sessions.find(cookies[0], "digest")
    assert sessions.find(cookies[1], "digest") is None
