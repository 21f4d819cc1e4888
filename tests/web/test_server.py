"""The addresses that the web server binds, and the errors of a failed start."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from structlog.testing import capture_logs

from forwarder.errors import AddressUnavailable, ForwarderError
from forwarder.web import server, status_page
from forwarder.web.connection_limit import VANISHED_MILLISECONDS
from tests.web.certificates import create_certificate
from tests.web.client import web_client


async def start_error(folder: Path, **web: Any) -> ForwarderError:
    with pytest.raises(ForwarderError) as raised:
        async with web_client(folder, **web):
            pass
    return raised.value


@pytest.mark.parametrize("key", ["listen", "health_listen"])
async def test_address_in_use_is_an_error_with_a_hint(tmp_path: Path, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as in_use:
        address = f"127.0.0.1:{in_use.getsockname()[1]}"
        error = await start_error(tmp_path, **{key: address})
    assert isinstance(error, AddressUnavailable)
    assert error.message == f"web.{key} {address} cannot be bound: Address already in use"
    assert key in error.hint


async def test_address_replace_certificate_machine_is_an_error(tmp_path: Path) -> None:
    error = await start_error(tmp_path, listen="192.0.2.1:8787", **create_certificate(tmp_path))
    assert "web.listen 192.0.2.1:8787 cannot be bound" in error.message
    assert error.exit_code == 75


def remove_key(folder: Path) -> None:
    (folder / "key.pem").unlink()


def replace_certificate(folder: Path) -> None:
    key = (folder / "key.pem").read_bytes()
    create_certificate(folder)
    (folder / "key.pem").write_bytes(key)


def write_text_as_certificate(folder: Path) -> None:
    (folder / "cert.pem").write_text("planted-text")


@pytest.mark.parametrize("damage", [remove_key, replace_certificate, write_text_as_certificate])
async def test_unusable_certificate_is_an_error(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    web = create_certificate(tmp_path)
    damage(tmp_path)
    error = await start_error(tmp_path, **web)
    assert "web.tls_cert" in error.message
    assert "planted" not in str(error)


async def test_missing_public_key_is_an_error(tmp_path: Path) -> None:
    assert "No such file" in str(await start_error(tmp_path, alloy_public_key="none.pem"))


@pytest.mark.parametrize(("text", "expected"), [(b"planted-text", "no PEM file"), (b"", "no PEM file")])
async def test_damaged_public_key_is_an_error(tmp_path: Path, text: bytes, expected: str) -> None:
    (tmp_path / "alloy.pem").write_bytes(text)
    error = await start_error(tmp_path, alloy_public_key="alloy.pem")
    assert expected in error.message
    assert "planted" not in str(error)


async def test_public_key_replace_certificate_type_is_an_error(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "alloy.pem").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert "is not an RSA key" in (await start_error(tmp_path, alloy_public_key="alloy.pem")).message


async def test_start_without_a_token_logs_the_address_and_a_hint(tmp_path: Path) -> None:
    with capture_logs() as log:
        async with web_client(tmp_path, has_token=False) as client:
            address = client.addresses.web_ui
    (line,) = [line for line in log if line["event"] == "web UI listening"]
    assert line["address"] == address
    assert "forwarder web create-token" in line["hint"]


async def test_server_without_addresses_does_not_listen(tmp_path: Path) -> None:
    with capture_logs() as log:
        async with web_client(tmp_path, listen="", health_listen="") as client:
            assert (client.addresses.web_ui, client.addresses.health) == ("", "")
    assert not [line for line in log if line["event"] in ("web UI listening", "health endpoints listening")]


async def test_ipv6_address_is_served(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no ::1")
    async with web_client(tmp_path, listen="[::1]:0", health_listen="[::1]:0") as client:
        assert client.addresses.web_ui.startswith("http://[::1]:")
        assert (await client.log_in()).status == 303
        async with client.browser.get(f"{client.addresses.health}/livez") as response:
            assert response.status == 200


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this option")
async def test_vanished_client_is_given_up_after_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The streams of clients that vanished would use up the limit of their session: a page opens a silent one again."""
    options = []
    contact = status_page.contact

    async def read_option(request: web.Request) -> web.Response:
        assert request.transport is not None
        options.append(
            request.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        )
        return await contact(request)

    routes = [each if each.kwargs["name"] != "contact" else web.get(each.path, read_option) for each in server.ROUTES]
    monkeypatch.setattr(server, "ROUTES", routes)
    async with web_client(tmp_path) as client:
        await client.log_in()
        assert (await client.get("/status/contact")).status == 204
    assert options == [VANISHED_MILLISECONDS]
