"""Certificates and keys that are replaced while the daemon runs, as certbot and cert-manager do."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from structlog.testing import capture_logs

from forwarder.vault import WEBHOOK_TOKEN
from forwarder.web.tokens import issue_token
from forwarder.web.webhook import SIGNATURE_HEADER
from tests.e2e.web_client import web_address
from tests.harness.installation import Installation
from tests.harness.process import eventually
from tests.virtual_clock import NOON
from tests.waiting import until
from tests.web.certificates import create_certificate, create_signing_key
from tests.web.client import WebClient, web_client


def served_certificate(address_: str) -> bytes:
    """Return the certificate of a new connection."""
    where = urlsplit(address_)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    where_to = (str(where.hostname), int(where.port or 0))
    with socket.create_connection(where_to, timeout=20) as plain, context.wrap_socket(plain) as connection:
        return connection.getpeercert(binary_form=True) or b""


def certificate_in(folder: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert((folder / "cert.pem").read_text())


def create_pair(folder: Path) -> Path:
    """Create a new pair of certificate and key in a new folder."""
    folder.mkdir()
    create_certificate(folder)
    return folder


def rename_over(new: Path, target: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (new / name).rename(target / name)


def write_over(new: Path, target: Path) -> None:
    for name in ("key.pem", "cert.pem"):
        (target / name).write_bytes((new / name).read_bytes())


def remove_first(new: Path, target: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (target / name).unlink()
    rename_over(new, target)


@pytest.mark.parametrize("replace", [rename_over, write_over, remove_first], ids=lambda each: each.__name__)
def test_renewed_certificate_is_used_for_new_connections(installation: Installation, replace: object) -> None:
    installation.change("web", listen="127.0.0.1:0", **create_certificate(installation.directory))
    with installation.start() as daemon:
        page = web_address(daemon)
        assert served_certificate(page) == certificate_in(installation.directory)
        new = create_pair(installation.directory / "new")
        renewed = certificate_in(new)
        assert callable(replace)
        replace(new, installation.directory)
        daemon.wait_until(lambda: served_certificate(page) == renewed)
        daemon.wait_for_log('"event": "files reloaded"')


def test_replaced_link_is_a_renewed_certificate(installation: Installation) -> None:
    """In a Kubernetes secret volume, the files are links into a folder that is a link, and only the latter changes."""
    for name in ("one", "two"):
        create_pair(installation.directory / name)
    (installation.directory / "data").symlink_to("one")
    installation.change("web", listen="127.0.0.1:0", tls_cert="data/cert.pem", tls_key="data/key.pem")
    with installation.start() as daemon:
        page = web_address(daemon)
        assert served_certificate(page) == certificate_in(installation.directory / "one")
        (installation.directory / "next").symlink_to("two")
        (installation.directory / "next").rename(installation.directory / "data")
        daemon.wait_until(lambda: served_certificate(page) == certificate_in(installation.directory / "two"))


def certificate_alone(new: Path, target: Path) -> None:
    shutil.copy(new / "cert.pem", target / "cert.pem")


def half_a_certificate(new: Path, target: Path) -> None:
    text = (new / "cert.pem").read_bytes()
    (target / "cert.pem").write_bytes(text[: len(text) // 2])


def nothing(new: Path, target: Path) -> None:  # noqa: ARG001  # what replaces has both
    (target / "key.pem").unlink()


def a_pipe(new: Path, target: Path) -> None:  # noqa: ARG001  # what replaces has both
    (target / "key.pem").unlink()
    os.mkfifo(target / "key.pem")


def a_folder(new: Path, target: Path) -> None:  # noqa: ARG001  # what replaces has both
    (target / "cert.pem").unlink()
    (target / "cert.pem").mkdir()


@pytest.mark.parametrize(
    "damage", [certificate_alone, half_a_certificate, nothing, a_pipe, a_folder], ids=lambda each: each.__name__
)
def test_incomplete_renewal_keeps_the_old_pair(installation: Installation, damage: object) -> None:
    installation.change("web", listen="127.0.0.1:0", **create_certificate(installation.directory))
    old = certificate_in(installation.directory)
    with installation.start() as daemon:
        page = web_address(daemon)
        new = create_pair(installation.directory / "new")
        assert callable(damage)
        damage(new, installation.directory)
        daemon.wait_for_log('"event": "invalid files, keeping previous', "web.tls_cert")
        assert served_certificate(page) == old
        renewed = certificate_in(new)
        for name in ("cert.pem", "key.pem"):
            if (installation.directory / name).is_dir():
                (installation.directory / name).rmdir()
            (new / name).rename(installation.directory / name)
        daemon.wait_until(lambda: served_certificate(page) == renewed)
        assert "Traceback" not in daemon.log
        assert eventually(lambda: daemon.is_running)


@asynccontextmanager
async def webhook_client(folder: Path) -> AsyncIterator[tuple[WebClient, str]]:
    async with web_client(folder, alloy_public_key="alloy.pem") as client:
        yield (
            client,
            f"/hooks/alloy/{issue_token(client.context.config_source, client.context.settings(), WEBHOOK_TOKEN, NOON)}",
        )


async def test_renewed_public_key_is_used_for_new_calls(tmp_path: Path) -> None:
    body = b'{"workflowId":"w"}'
    old = create_signing_key(tmp_path)
    async with webhook_client(tmp_path) as (client, path):

        async def status(key: object) -> int:
            message = f"POST{client.addresses.web_ui}{path}".encode() + body
            headers = {SIGNATURE_HEADER: key.sign(message, PKCS1v15(), SHA256()).hex()}  # type: ignore[attr-defined]  # an RSA key
            async with client.browser.post(path, data=body, headers=headers) as answer:
                return answer.status

        assert await status(old) == 202
        with capture_logs() as log:
            new = create_signing_key(tmp_path)
            await until(lambda: "files reloaded" in str(log))
        assert (await status(old), await status(new)) == (401, 202)
        with capture_logs() as log:
            (tmp_path / "alloy.pem").write_text("planted-text")
            await until(lambda: "invalid files, keeping previous" in str(log))
        assert "planted" not in str(log)
        assert await status(new) == 202
