"""The causes of failed TLS handshakes: the certificates of the server and its issuer, and files of this machine."""

import socket
import ssl
from pathlib import Path

import pytest

from tests.fakes.certificates import issued_without_key_identifier, self_signed
from tests.test_network_errors import OK, Get, by_aiobotocore, by_aiohttp, by_httpx, problem, raised, serving


@pytest.mark.parametrize("get", [by_httpx, by_aiohttp, by_aiobotocore])
@pytest.mark.parametrize("path", ["gone/keys.log", "."], ids=["no folder", "a folder"])
def test_key_log_that_cannot_be_written_is_named(
    get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Python opens the file for each context, so that it may also disappear while the program runs."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / path))
    with serving(OK, self_signed(tmp_path).server) as place:
        text = problem(get(f"https://{place}/", None, None))
    assert f"SSLKEYLOGFILE names {tmp_path / path}, which cannot be written" in text
    assert "unset SSLKEYLOGFILE" in text


def connect(place: str, trust: ssl.SSLContext) -> None:
    host, _, port = place.partition(":")
    with socket.create_connection((host, int(port))) as line, trust.wrap_socket(line, server_hostname=host):
        pass


def test_certificate_that_breaks_rfc_5280_is_explained(tmp_path: Path) -> None:
    """Python 3.13 and later set this flag. The certificate is trusted already, so more trust fixes nothing."""
    certificate = issued_without_key_identifier(tmp_path)
    trust = ssl.create_default_context(cafile=certificate.file)
    trust.verify_flags |= ssl.VERIFY_X509_STRICT
    with serving(OK, certificate.server) as place:
        text = problem(raised(lambda: connect(place, trust)), SSL_CERT_FILE=str(certificate.file))
    assert "its certificate is not valid (Missing Authority Key Identifier)" in text
    assert "RFC 5280" in text
    assert str(certificate.file) not in text


@pytest.mark.parametrize(
    ("code", "message", "is_trust"),
    [
        (20, "unable to get local issuer certificate", True),
        (7, "certificate signature failure", True),
        (26, "unsuitable certificate purpose", False),
        (47, "permitted subtree violation", False),
        (79, "invalid CA certificate", False),
        (85, "Missing Authority Key Identifier", False),
        (92, "CA cert does not include key usage extension", False),
    ],
)
def test_more_trust_is_advised_only_for_issuers(code: int, message: str, is_trust: bool) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    text = problem(error)
    assert ("set SSL_CERT_FILE" in text, "have the certificate authority" in text) == (is_trust, not is_trust)
