"""The page that a person wanted is shown after the login, and no login leads to another host."""

import re
from html import unescape
from pathlib import Path

import pytest

from tests.web.client import CLOSED_PAGES, WebClient, web_client

PATHS = [each.path for each in CLOSED_PAGES] + ["/events?state=dead&q=a%20b%22%3Cx%3E", "/event?id=//evil.example"]

OTHER_HOSTS = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "/\t/evil.example",
    "/\r\nSet-Cookie: a=b",
    "\\\\evil.example",
    "https://evil.example",
    "https:/evil.example",
    "javascript:alert(1)",
    "evil.example",
    " /events",
    "/events\u2028",
    "/\u00e9",
]


async def log_in_from(client: WebClient, location: str) -> str:
    """Load the login at this location, send its form, and return the location that follows."""
    page = await (await client.get(location)).text()
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page))
    form = {name: unescape(value) for name, value in hidden.items()} | {"token": client.token}
    return (await client.change("/login", data=form)).headers["Location"]


@pytest.mark.parametrize("path", PATHS)
async def test_login_leads_to_the_page_that_was_requested(tmp_path: Path, path: str) -> None:
    async with web_client(tmp_path) as client:
        location = (await client.get(path)).headers["Location"]
        assert await log_in_from(client, location) == path
        assert (await client.get(location)).headers["Location"] == path  # another tab has logged in meanwhile


async def test_wrong_token_keeps_the_requested_page(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        form = {"token": "wrong", "next": "/events?state=dead"}
        page = await (await client.change("/login", data=form)).text()
        assert '<input type="hidden" name="next" value="/events?state=dead">' in page


@pytest.mark.parametrize("path", OTHER_HOSTS)
async def test_login_does_not_lead_to_another_host(tmp_path: Path, path: str) -> None:
    async with web_client(tmp_path) as client:
        assert 'name="next"' not in await (await client.get("/login", params={"next": path})).text()
        printable = path.replace("\r\n", "\n")
        response = await client.change("/login", data={"token": client.token, "next": printable})
        assert (response.status, response.headers["Location"]) == (303, "/")
        assert (await client.get("/login", params={"next": path})).headers["Location"] == "/"


async def test_path_with_two_slashes_is_not_carried(tmp_path: Path) -> None:
    """The request line itself may hold such a path."""
    async with web_client(tmp_path) as client:
        assert (await client.get(f"{client.addresses.web_ui}//evil.example/")).headers["Location"] == "/login"
