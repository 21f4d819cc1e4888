"""What is bound, and what is said where it cannot be."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from structlog.testing import capture_logs

from forwarder.errors import SettingsError
from tests.loops import looped
from tests.web.tls import certified
from tests.web.visit import visit


async def refusal(folder: Path, **web: Any) -> SettingsError:
    with pytest.raises(SettingsError) as raised:
        async with visit(folder, **web):
            pass
    return raised.value


@pytest.mark.parametrize("key", ["listen", "health_listen"])
@looped
async def test_an_address_in_use_is_told_with_the_mend(tmp_path: Path, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        error = await refusal(tmp_path, **{key: address})
    assert f"web.{key} {address} cannot be had: Address already in use" in error.message
    assert key in error.hint


@looped
async def test_an_address_of_another_machine_is_told_with_the_mend(tmp_path: Path) -> None:
    error = await refusal(tmp_path, listen="192.0.2.1:8787", **certified(tmp_path))
    assert "web.listen 192.0.2.1:8787 cannot be had" in error.message


def without_key(folder: Path) -> None:
    (folder / "key.pem").unlink()


def of_another(folder: Path) -> None:
    key = (folder / "key.pem").read_bytes()
    certified(folder)
    (folder / "key.pem").write_bytes(key)


def no_pem(folder: Path) -> None:
    (folder / "cert.pem").write_text("planted-text")


@pytest.mark.parametrize("spoil", [without_key, of_another, no_pem])
@looped
async def test_a_certificate_that_cannot_be_used_is_told(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    web = certified(tmp_path)
    spoil(tmp_path)
    error = await refusal(tmp_path, **web)
    assert "web.tls_cert" in error.message
    assert "planted" not in str(error)


@looped
async def test_a_public_key_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "No such file" in str(await refusal(tmp_path, alloy_public_key="none.pem"))


@pytest.mark.parametrize(("text", "words"), [(b"planted-text", "no PEM file"), (b"", "no PEM file")])
@looped
async def test_a_public_key_that_is_none_is_told(tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "alloy.pem").write_bytes(text)
    error = await refusal(tmp_path, alloy_public_key="alloy.pem")
    assert words in error.message
    assert "planted" not in str(error)


@looped
async def test_a_public_key_of_another_kind_is_told(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "alloy.pem").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert "is not an RSA key" in (await refusal(tmp_path, alloy_public_key="alloy.pem")).message


@looped
async def test_the_log_says_where_the_page_is_and_how_to_get_in(tmp_path: Path) -> None:
    with capture_logs() as log:
        async with visit(tmp_path, has_token=False) as at:
            address = at.served.page
    (line,) = [line for line in log if line["event"] == "page"]
    assert line["address"] == address
    assert "forwarder web token" in line["mend"]


@looped
async def test_where_nothing_is_asked_for_nothing_listens(tmp_path: Path) -> None:
    with capture_logs() as log:
        async with visit(tmp_path, listen="", health_listen="") as at:
            assert (at.served.page, at.served.doors) == ("", "")
    assert not [line for line in log if line["event"] in ("page", "health doors")]


@looped
async def test_ipv6_is_spoken_where_the_machine_speaks_it(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no ::1")
    async with visit(tmp_path, listen="[::1]:0", health_listen="[::1]:0") as at:
        assert at.served.page.startswith("http://[::1]:")
        assert (await at.log_in()).status == 303
        async with at.browser.get(f"{at.served.doors}/livez") as answer:
            assert answer.status == 200
