"""Many foreign connections to a daemon with few descriptors, which still forwards."""

from __future__ import annotations

import json
import re
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.harness import fail, numbered, sent
from tests.e2e.web_client import http_request, web_address
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation
from tests.harness.process import ForwarderProcess
from tests.web.certificates import create_certificate

DESCRIPTORS = 256

MAX_LOG_BYTES = 20_000

Opening = Callable[[str, int], socket.socket]


def health_address(daemon: ForwarderProcess) -> str:
    daemon.wait_for_log('"event": "health endpoints listening"')
    (line,) = [line for line in daemon.log.splitlines() if '"event": "health endpoints listening"' in line]
    return str(json.loads(line)["address"])


def idle(host: str, port: int) -> socket.socket:
    return socket.create_connection((host, port), timeout=10)


def half_a_head(host: str, port: int) -> socket.socket:
    connection = idle(host, port)
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: ")
    return connection


def half_a_body(host: str, port: int) -> socket.socket:
    connection = idle(host, port)
    head = f"POST /login HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: http://{host}:{port}\r\nContent-Length: 60\r\n\r\n"
    connection.sendall(f"{head}token=".encode())
    return connection


def kept_alive(host: str, port: int) -> socket.socket:
    connection = idle(host, port)
    connection.sendall(f"GET /livez HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    return connection


def garbage(host: str, port: int) -> socket.socket:
    connection = idle(host, port)
    connection.sendall(b"\x16\x03\x01 planted-token \r\n\r\n")
    return connection


def without_reading(host: str, port: int) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.settimeout(10)
    connection.connect((host, port))
    connection.sendall(f"GET /metrics HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode() * 20)
    return connection


@contextmanager
def many(count: int, opening: Opening, *addresses: str) -> Iterator[None]:
    """Keep connections to the addresses in turns. Refused and closed connections do not count."""
    with ExitStack() as stack:
        for _ in range(count):
            for each in addresses:
                parts = urlsplit(each)
                try:
                    stack.enter_context(opening(str(parts.hostname), int(parts.port or 0)))
                except OSError:
                    continue
        yield


def processor_seconds(daemon: ForwarderProcess) -> float:
    fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.fixture
def daemon(installation: Installation) -> Iterator[ForwarderProcess]:
    installation.change("web", listen="127.0.0.1:0", health_listen="127.0.0.1:0")
    with installation.start() as daemon:
        web_address(daemon)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        yield daemon


@pytest.mark.parametrize(
    "opening", [idle, half_a_head, half_a_body, kept_alive, garbage, without_reading], ids=lambda each: each.__name__
)
def test_many_connections_do_not_stop_forwarding(
    daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge, opening: Opening
) -> None:
    page, health = web_address(daemon), health_address(daemon)
    before = len(daemon.log)
    with many(300, opening, page, health):
        open_files = len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))
        assert open_files < DESCRIPTORS - 40
        fail(alloy, *numbered(20))
        daemon.wait_until(lambda: len(sent(bus)) == 20)
        for each in (page, health):
            assert http_request(f"{each}/livez")[0] == 200
    assert len(daemon.log) - before < MAX_LOG_BYTES
    assert "Traceback" not in daemon.log
    assert "planted" not in daemon.log


def test_page_at_its_limit_leaves_health_endpoints_reachable(daemon: ForwarderProcess) -> None:
    health = health_address(daemon)
    with many(300, idle, web_address(daemon)):
        for path in ("/livez", "/metrics"):
            assert http_request(f"{health}{path}")[0] == 200


def test_too_many_connections_are_one_line_of_the_log(daemon: ForwarderProcess) -> None:
    page, health = web_address(daemon), health_address(daemon)
    with many(300, idle, page):
        daemon.wait_for_log('"kind": "too_many_connections"')
        assert http_request(f"{page}/livez")[0] == 200
    lines = [json.loads(line) for line in daemon.log.splitlines() if '"kind": "too_many_connections"' in line]
    assert [(line["listener"], line["caller"], "ulimit" in line["hint"]) for line in lines] == [
        ("listen", "127.0.0.1", True)
    ]
    _, text = http_request(f"{health}/metrics")
    counted = re.search(
        r'^forwarder_web_request_errors_total\{kind="too_many_connections"\} (\S+)$', text, re.MULTILINE
    )
    assert counted
    assert float(counted[1]) > 100


def test_daemon_without_descriptors_does_not_spin(
    daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """With a limit below the number of open descriptors, nothing can be accepted, and the log does not repeat."""
    page = web_address(daemon)
    daemon.wait_until(lambda: http_request(f"{page}/readyz")[0] == 200)
    before = len(daemon.log)
    with many(20, idle, page):
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (10, DESCRIPTORS))
        started = processor_seconds(daemon)
        with many(100, idle, page):
            daemon.wait_for_log('"kind": "no_descriptors"')
            used = processor_seconds(daemon) - started
        assert used < 2
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    fail(alloy, *numbered(3))
    daemon.wait_until(lambda: len(sent(bus)) == 3)
    daemon.wait_until(lambda: http_request(f"{page}/livez")[0] == 200)
    assert len(daemon.log) - before < MAX_LOG_BYTES


def test_incomplete_handshakes_do_not_stop_forwarding(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("web", listen="127.0.0.1:0", **create_certificate(installation.directory))
    with installation.start() as daemon:
        page = urlsplit(web_address(daemon))
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        with many(300, idle, page.geturl()):
            fail(alloy, *numbered(5))
            daemon.wait_until(lambda: len(sent(bus)) == 5)
            assert livez_over_tls(str(page.hostname), int(page.port or 0)).startswith(b"HTTP/1.1 200")
        assert "Traceback" not in daemon.log


def livez_over_tls(host: str, port: int) -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((host, port), timeout=20) as plain, context.wrap_socket(plain) as connection:
        connection.sendall(f"GET /livez HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        return connection.recv(4096)
