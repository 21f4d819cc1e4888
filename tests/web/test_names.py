"""Behind a proxy: who may speak to us, and who is taken for the caller."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.loops import looped
from tests.web.visit import Visit, visit

PUBLIC = "https://forwarder.example.com"
BROWSER = {"Host": "forwarder.example.com", "Origin": PUBLIC}


@asynccontextmanager
async def behind(folder: Path, *proxies: str, **web: Any) -> AsyncIterator[Visit]:
    async with visit(folder, trusted_proxies=list(proxies), public_url=PUBLIC, **web) as at:
        yield at


async def caller(at: Visit, forwarded_for: str) -> Any:
    """Who is logged as having failed to log in."""
    with capture_logs() as log:
        await at.change("/login", BROWSER | {"X-Forwarded-For": forwarded_for}, data={"token": "wrong"})
    return log[0]["caller"]


@pytest.mark.parametrize(
    ("forwarded_for", "expected"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("198.51.100.7, 127.0.0.3", "198.51.100.7"),
        ("203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("203.0.113.9, made up", "made up"),
        ("", "127.0.0.1"),
        ("x" * 1000, "x" * 64),
    ],
)
@looped
async def test_the_caller_is_whom_the_last_trusted_proxy_saw(tmp_path: Path, forwarded_for: str, expected: str) -> None:
    async with behind(tmp_path, "127.0.0.0/8") as at:
        assert await caller(at, forwarded_for) == expected


@looped
async def test_nobody_else_is_believed_who_the_caller_is(tmp_path: Path) -> None:
    async with behind(tmp_path, "10.0.0.5") as at:
        assert await caller(at, "198.51.100.7") == "127.0.0.1"


@looped
async def test_through_the_proxy_the_cookie_is_for_tls_alone(tmp_path: Path) -> None:
    async with behind(tmp_path, "127.0.0.1") as at:
        answer = await at.change("/login", BROWSER, data={"token": at.token})
        assert answer.cookies["__Host-forwarder"]["secure"] is True


@looped
async def test_the_proxy_may_call_us_by_our_own_name(tmp_path: Path) -> None:
    async with behind(tmp_path, "127.0.0.1") as at:
        assert (await at.change("/login", {"Origin": PUBLIC}, data={"token": at.token})).status == 303
