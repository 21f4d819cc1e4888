"""The one-time link of a first start."""

import asyncio
import re
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from forwarder.model import State
from forwarder.vault import WEB_TOKEN
from forwarder.web.login import LOGIN_BURST, LOGIN_INTERVAL_SECONDS
from forwarder.web.setup import MAX_LINK_AGE_SECONDS
from forwarder.web.tokens import issue_token
from tests.virtual_clock import NOON
from tests.web.client import WebClient, web_client


def first_start(folder: Path, **web: Any) -> AbstractAsyncContextManager[WebClient]:
    return web_client(folder, has_token=False, is_first_start=True, **web)


async def admin_token(client: WebClient) -> str:
    """Return the token that the link creates."""
    answer = await client.change(client.setup_link)
    assert answer.status == 200, answer.status
    (token,) = re.findall(r'value="([\w-]{43})"', await answer.text())
    return str(token)


async def test_link_has_256_random_bits(tmp_path: Path) -> None:
    async with first_start(tmp_path) as client:
        assert re.fullmatch(r"/setup/[\w-]{43}", client.setup_link)


async def test_get_of_the_link_consumes_nothing(tmp_path: Path) -> None:
    """Previews and scanners open links, some with HEAD."""
    async with first_start(tmp_path) as client:
        for _ in range(2 * LOGIN_BURST):
            answer = await client.get(client.setup_link)
            assert (answer.status, "Set-Cookie" in answer.headers) == (200, False)
        await client.browser.head(client.setup_link)
        await admin_token(client)


async def test_post_of_the_link_opens_a_session_once(tmp_path: Path) -> None:
    """The token is shown once, and logs in later."""
    async with first_start(tmp_path) as client:
        token = await admin_token(client)
        assert await client.is_logged_in()
        assert [(await client.change(client.setup_link)).status for _ in range(2)] == [404, 404]
        await client.change("/logout")
        assert (await client.get(client.setup_link)).status == 404
        assert (await client.log_in(token)).status == 303


async def test_two_posts_at_once_create_one_token(tmp_path: Path) -> None:
    async with first_start(tmp_path) as client:
        answers = await asyncio.gather(*(client.change(client.setup_link) for _ in range(4)))
        assert sorted(answer.status for answer in answers) == [200, 404, 404, 404]


async def test_link_expires(tmp_path: Path) -> None:
    async with first_start(tmp_path) as client:
        client.clock.advance(MAX_LINK_AGE_SECONDS - 1)
        assert (await client.get(client.setup_link)).status == 200
        client.clock.advance(1)
        answer = await client.get(client.setup_link)
        assert answer.status == 404
        text = await answer.text()
        assert "forwarder run --setup" in text
        assert "forwarder web create-token" in text
        assert (await client.change(client.setup_link)).status == 404


async def test_link_is_not_valid_after_create_token(tmp_path: Path) -> None:
    """The token that was created in the terminal is not replaced, and no link becomes valid again without it."""
    async with first_start(tmp_path) as client:
        token = issue_token(client.context.config_source, client.context.settings(), WEB_TOKEN, NOON)
        assert (await client.change(client.setup_link)).status == 404
        assert (await client.log_in(token)).status == 303
        client.context.config_source.path("forwarder.keys").unlink()
        assert (await client.change(client.setup_link)).status == 404


async def test_link_is_not_valid_once_settings_are_complete(tmp_path: Path) -> None:
    async with first_start(tmp_path) as client:
        client.context.health.report("source", State.STARTING)
        assert (await client.change(client.setup_link)).status == 404
        client.context.health.report("source", State.UNCONFIGURED, "incomplete")
        assert (await client.change(client.setup_link)).status == 404


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}])
async def test_link_from_another_origin_is_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    async with first_start(tmp_path) as client:
        assert (await client.change(client.setup_link, headers)).status == 403
        assert (await client.browser.post(client.setup_link)).status == 403
        await admin_token(client)


async def test_wrong_links_are_rate_limited(tmp_path: Path) -> None:
    async with first_start(tmp_path) as client:
        wrong = "/setup/" + "a" * 43
        statuses = [(await client.get(wrong)).status for _ in range(LOGIN_BURST)]
        assert statuses == [404] * LOGIN_BURST
        assert (await client.change(wrong)).status == 429
        assert (await client.change(client.setup_link)).status == 429
        client.clock.advance(LOGIN_INTERVAL_SECONDS)
        await admin_token(client)


async def test_failed_use_of_the_link_can_be_repeated(tmp_path: Path) -> None:
    """A vault that cannot be used is an error, and the link stays valid."""
    async with first_start(tmp_path) as client:
        key = client.context.config_source.path("forwarder.master-key")
        content = key.read_text()
        key.unlink()
        assert (await client.change(client.setup_link)).status == 409
        key.write_text(content)
        key.chmod(0o600)
        await admin_token(client)


async def test_link_and_token_are_in_no_log_or_endpoint(tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with first_start(tmp_path) as client:
            await client.get(client.setup_link)
            token = await admin_token(client)
            await client.change(client.setup_link)
            texts = [await (await client.get(path)).text() for path in ("/readyz", "/metrics", "/", "/settings")]
            secret = client.setup_link.removeprefix("/setup/")
    assert "admin token created" in [line["event"] for line in lines]
    for text in (*texts, str(lines)):
        assert secret not in text
        assert token not in text


async def test_setup_pages_keep_their_address_to_themselves(tmp_path: Path) -> None:
    """No request names the address as its referrer, and no cache keeps it."""
    async with first_start(tmp_path) as client:
        answers = [await client.get(client.setup_link), await client.change(client.setup_link)]
        answers.append(await client.get(client.setup_link))
        assert [answer.status for answer in answers] == [200, 200, 404]
        for answer in answers:
            assert answer.headers["Referrer-Policy"] == "strict-origin"
            assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("has_token", "is_first_start"), [(True, True), (False, False)])
async def test_no_link_without_a_first_start(tmp_path: Path, *, has_token: bool, is_first_start: bool) -> None:
    async with web_client(tmp_path, has_token=has_token, is_first_start=is_first_start) as client:
        assert client.setup_link == ""


async def test_no_link_for_a_listener_of_a_network(tmp_path: Path) -> None:
    options = {"listen": "0.0.0.0:0", "public_url": "https://f.example", "trusted_proxies": ("127.0.0.1",)}
    async with first_start(tmp_path, **options) as client:
        assert client.setup_link == ""
