"""Failed connections to the logs API: `check` names the cause and the variable, file or address that fixes it."""

from __future__ import annotations

import socket
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest

from tests.e2e.harness import fail, sent
from tests.fakes.actions import HttpResponse, Raw
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.certificates import DAY, Certificate, self_signed
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

PROXY_PASSWORD = "pr0xy-s3cret"


def source_line(installation: Installation) -> str:
    """Return the line of `check` about the logs API. Require that the output has no secret and no traceback."""
    done = installation.run_command("check")
    assert done.code in (69, 77)
    assert [text for text in (API_KEY, PROXY_PASSWORD, "Traceback") if text in done.output] == []
    lines = done.out.splitlines()
    first = next(number for number, line in enumerate(lines) if "logs API" in line)
    return "\n".join(lines[first : first + 2])


@contextmanager
def served(installation: Installation, certificate: Certificate) -> Iterator[FakeAlloy]:
    with FakeAlloy(tls=certificate.server) as alloy:
        alloy.api.add_workflow("w")
        installation.change("source", base_url=alloy.url)
        yield alloy


@pytest.fixture
def unknown(installation: Installation, tmp_path: Path) -> Iterator[Certificate]:
    """Give the logs API a certificate that this machine does not trust."""
    certificate = self_signed(tmp_path)
    with served(installation, certificate):
        yield certificate


def test_untrusted_certificate_names_ssl_cert_file(installation: Installation, unknown: Certificate) -> None:
    line = source_line(installation)
    assert "certificate is not trusted" in line
    assert "set SSL_CERT_FILE" in line
    installation.env = {"SSL_CERT_FILE": str(unknown.file)}
    assert installation.run_command("check").code == 0


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE"])
def test_variable_of_other_programs_is_named(installation: Installation, unknown: Certificate, variable: str) -> None:
    installation.env = {variable: str(unknown.file)}
    line = source_line(installation)
    assert f"{variable} is set, but has no effect here" in line
    assert f"set SSL_CERT_FILE too, to {unknown.file}" in line


def test_empty_variable_is_not_blamed(installation: Installation, unknown: Certificate) -> None:
    installation.env = {"REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": " "}
    line = source_line(installation)
    assert "set SSL_CERT_FILE to a PEM file" in line
    assert str(unknown.file) not in line


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "does not exist"),
        ("folder", "is a directory"),
        (b"", "holds no certificate"),
        (b"\x30\x82\x01\x0a", "holds no certificate"),
        (b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n", "holds no certificate"),
    ],
    ids=["missing", "folder", "empty", "DER", "key"],
)
def test_unusable_ssl_cert_file_is_named(
    installation: Installation, unknown: Certificate, tmp_path: Path, content: bytes | str | None, cause: str
) -> None:
    assert unknown.file.exists()
    file = tmp_path / "ca.pem"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content:
        file.mkdir()
    installation.env = {"SSL_CERT_FILE": str(file)}
    line = source_line(installation)
    assert f"SSL_CERT_FILE names {file}" in line
    assert cause in line


def test_ssl_cert_dir_that_is_missing_is_named(installation: Installation, unknown: Certificate) -> None:
    installation.env = {"SSL_CERT_DIR": str(unknown.file.parent / "certs")}
    line = source_line(installation)
    assert "SSL_CERT_DIR names" in line
    assert "no directory" in line


def test_ssl_cert_file_of_another_issuer_is_named(
    installation: Installation, unknown: Certificate, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = self_signed(tmp_path / "other")
    installation.env = {"SSL_CERT_FILE": str(other.file)}
    assert unknown.file != other.file
    line = source_line(installation)
    assert f"add the issuer's certificate to {other.file}" in line


@pytest.mark.parametrize(
    ("ended", "address", "expected"),
    [
        (DAY, "127.0.0.1", ("has expired", "clock")),
        (-60 * DAY, "127.0.0.1", ("not valid yet", "clock")),
        (-DAY, "127.0.0.2", ("another", "address")),
    ],
    ids=["expired", "not yet", "another"],
)
def test_invalid_certificate_has_its_own_message(
    installation: Installation, tmp_path: Path, ended: timedelta, address: str, expected: tuple[str, ...]
) -> None:
    certificate = self_signed(tmp_path, address=address, ended=ended)
    installation.env = {"SSL_CERT_FILE": str(certificate.file)}
    with served(installation, certificate):
        line = source_line(installation)
    assert [word for word in expected if word not in line] == []
    assert "SSL_CERT_FILE" not in line, "more trust fixes none of them"


@contextmanager
def answering(data: bytes) -> Iterator[int]:
    """Yield a port that sends these bytes to every client, and closes."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.request.sendall(data)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        serving = Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            serving.join()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", ("does not respond with TLS", "scheme")),
        (b"SSH-2.0-OpenSSH_9.6\r\n", ("does not respond with TLS", "port")),
        (b"\x15\x03\x01\x00\x02\x02\x46", ("no TLS version", "TLS 1.2")),
        (b"\x15\x03\x03\x00\x02\x02\x28", ("TLS handshake failed",)),
        (b"\x15\x03\x03\x00\x02\x02\x74", ("client certificate",)),
        (b"", ("closed without a response", "firewall")),
    ],
    ids=["HTTP", "SSH", "old TLS", "alert", "client certificate", "nothing"],
)
def test_failed_handshake_is_named(installation: Installation, data: bytes, expected: tuple[str, ...]) -> None:
    with answering(data) as port:
        installation.change("source", base_url=f"https://127.0.0.1:{port}")
        line = source_line(installation)
    assert [word for word in expected if word not in line] == []


def test_unresolvable_host_is_named(installation: Installation) -> None:
    installation.change("source", base_url="https://nowhere.invalid")
    line = source_line(installation)
    assert "nowhere.invalid:443" in line
    assert "cannot be resolved" in line


def test_refused_connection_is_named(installation: Installation) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    installation.change("source", base_url=f"http://127.0.0.1:{port}")
    line = source_line(installation)
    assert f"the logs API 127.0.0.1:{port}" in line
    assert "refused" in line


def test_silent_host_is_named(installation: Installation) -> None:
    with socket.socket() as full, socket.socket() as before:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        before.connect(full.getsockname())  # the kernel accepts no other
        installation.change("source", base_url=f"http://127.0.0.1:{full.getsockname()[1]}", timeout="300ms")
        assert "timed out" in source_line(installation)


@contextmanager
def proxied(installation: Installation, answer: HttpResponse | Raw) -> Iterator[str]:
    """Yield the host and port of a proxy before the logs API."""
    with FakeAlloy() as proxy:
        proxy.always(lambda _: answer)
        address = proxy.url.removeprefix("http://")
        installation.env = {"HTTPS_PROXY": f"http://someone:{PROXY_PASSWORD}@{address}"}
        installation.change("source", base_url="https://logs.example")
        yield address


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            HttpResponse(407, {"Proxy-Authenticate": "Basic"}),
            ("refuses to connect", "407", "user name and the password"),
        ),
        (HttpResponse(403, {}, b"<html>Denied</html>"), ("refuses to connect", "403", "NO_PROXY")),
        (HttpResponse(502), ("cannot connect", "502")),
        (HttpResponse(503), ("cannot connect", "503")),
        (Raw(b""), ("through the proxy", "broke off")),
    ],
    ids=["407", "403", "502", "503", "closed"],
)
def test_refusing_proxy_is_named(
    installation: Installation, answer: HttpResponse | Raw, expected: tuple[str, ...]
) -> None:
    with proxied(installation, answer) as address:
        line = source_line(installation)
    assert [word for word in (*expected, address) if word not in line] == []


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        ("http://user:{password}@127.0.0.1:9", ("the proxy 127.0.0.1:9", "refused", "NO_PROXY")),
        ("http://user:{password}@nowhere.invalid:3128", ("the proxy nowhere.invalid:3128", "cannot be resolved")),
        ("socks5://user:{password}@127.0.0.1:9", ("SOCKS", "HTTP proxy")),
        ("socks5h://127.0.0.1:9", ("SOCKS", "HTTP proxy")),
        ("ftp://user:{password}@127.0.0.1:9", ("scheme", "http://HOST:PORT")),
        ("http://user:{password}@127.0.0.1:port", ("proxy", "HTTPS_PROXY")),
    ],
    ids=["refused", "unresolvable", "SOCKS", "SOCKS names", "FTP", "no port"],
)
def test_unusable_proxy_is_named(installation: Installation, proxy: str, expected: tuple[str, ...]) -> None:
    installation.env = {"HTTPS_PROXY": proxy.format(password=PROXY_PASSWORD)}
    installation.change("source", base_url="https://logs.example")
    line = source_line(installation)
    assert [word for word in expected if word not in line] == []


@pytest.mark.parametrize("exempt", ["localhost,10.0.0.0/8,fd00::/8", "169.254.170.23,[fd00:ec2::23]"])
def test_no_proxy_of_other_hosts_changes_nothing(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, exempt: str
) -> None:
    """A list that a cluster or a company gives to all its services exempts many hosts, and some by network."""
    fail(alloy, "e-1")
    installation.env = {"NO_PROXY": exempt, "HTTPS_PROXY": "http://127.0.0.1:9"}
    done = installation.run_command("once")
    assert (done.code, sent(bus)) == (0, ["e-1"]), done.err


def test_every_command_and_the_daemon_name_the_cause(
    installation: Installation, unknown: Certificate, bus: StrictEventBridge
) -> None:
    cause, fix = "its certificate is not trusted", "SSL_CERT_FILE"
    done = installation.run_command("once", "--timeout", "1s")
    assert (done.code, cause in done.err, fix in done.err) == (69, True, True)
    done = installation.run_command("logs", "w")
    assert (done.code, cause in done.err, fix in done.err) == (69, True, True)
    with installation.start() as daemon:
        daemon.wait_for_log("poll aborted", cause, fix)
        daemon.wait_until(lambda: cause in installation.run_command("status").out)
        assert daemon.stop() == 0
    installation.env = {"SSL_CERT_FILE": str(unknown.file)}
    assert (installation.run_command("once").code, sent(bus)) == (0, [])
