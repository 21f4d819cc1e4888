"""Several forwarders on one host, and a forwarder at the end of a tunnel with another port."""

from pathlib import Path

import pytest

from forwarder.web.hosts import AllowedHosts
from tests.factories import some_settings
from tests.web.client import WebClient, browser, web_client

PUBLIC = "https://forwarder.example.com"


async def log_in_at(client: WebClient, host: str, origin: str) -> int:
    headers = {"Host": host, "Origin": origin}
    return (await client.change("/login", headers, data={"token": client.token})).status


async def test_forwarders_on_one_host_keep_their_sessions(tmp_path: Path) -> None:
    """A browser sends the cookies of a host to each of its ports."""
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    async with web_client(folders[0]) as one, web_client(folders[1]) as other, browser(None) as shared:
        for client in (one, other):
            headers = {"Origin": client.addresses.web_ui}
            login = f"{client.addresses.web_ui}/login"
            async with shared.post(login, data={"token": client.token}, headers=headers) as response:
                assert response.status == 200
        for client in (one, other):
            async with shared.get(client.addresses.web_ui, allow_redirects=False) as response:
                assert response.status == 200


@pytest.mark.parametrize("host", ["127.0.0.1:9999", "localhost:9999", "LOCALHOST.:9999", "[::1]:9999", "localhost"])
async def test_tunnel_with_another_port_is_accepted(tmp_path: Path, host: str) -> None:
    """`ssh -L 9999:127.0.0.1:8787` is such a tunnel."""
    async with web_client(tmp_path) as client:
        assert await log_in_at(client, host, f"http://{host.lower()}") == 303
        assert (await client.get("/", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:9998", "http://127.0.0.1:9999", "https://localhost:9999", "http://evil.example", "null"],
)
async def test_tunnel_refuses_other_pages_of_its_machine(tmp_path: Path, origin: str) -> None:
    async with web_client(tmp_path) as client:
        assert await log_in_at(client, "localhost:9999", origin) == 403
        assert await log_in_at(client, "localhost:9999", client.addresses.web_ui) == 403


@pytest.mark.parametrize(
    "host", ["evil.example:9999", "localhost.evil.example:9999", "evil.localhost:9999", "127.0.0.1.nip.io", "0.0.0.0:1"]
)
async def test_other_name_is_refused_with_any_port(tmp_path: Path, host: str) -> None:
    """DNS rebinding makes a browser send a name of the attacker."""
    async with web_client(tmp_path) as client:
        assert await log_in_at(client, host, f"http://{host}") == 421


@pytest.mark.parametrize("listen", ["0.0.0.0:8787", "10.0.0.1:8787"])
def test_listener_on_a_network_accepts_its_own_port_only(listen: str) -> None:
    web = {"listen": listen, "public_url": PUBLIC, "trusted_proxies": ["10.0.0.2"]}
    hosts = AllowedHosts.of(some_settings(web=web).web, 8787)
    assert not hosts.is_host("localhost:9999")
    assert hosts.is_host("forwarder.example.com")
