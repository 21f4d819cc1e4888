"""The command `forwarder health` and the running daemon, as a container's health check in many configurations.

It stands for reports in which a health check fails although the program works: a proxy variable in the container, TLS
on the listener, another address, a Host allow-list, a settings file that is edited while the daemon runs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from forwarder.ledger import RunningLock
from tests.e2e.conftest import alloy, bus, installation, vault_secrets
from tests.fakes.certificates import DAY, self_signed
from tests.harness.installation import CommandResult, Installation
from tests.harness.ports import free_port
from tests.harness.process import ForwarderProcess

__all__ = ["alloy", "bus", "installation", "vault_secrets"]

DEAD_PROXY = "http://127.0.0.1:9"
PROXIES = dict.fromkeys(
    ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"), DEAD_PROXY
)

rooted = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("ip") is None,
    reason="left out: a network namespace needs root, unshare (util-linux) and ip (iproute2)",
)


@contextmanager
def listening(installation: Installation, **web: object) -> Iterator[ForwarderProcess]:
    """Yield a daemon that listens."""
    installation.change("web", **web)
    with installation.start() as daemon:
        daemon.wait_for_log("health endpoints listening" if web.get("health_listen") else '"event": "web UI listening"')
        yield daemon


def healthy(installation: Installation, *options: str) -> CommandResult:
    done = installation.run_command("health", *options)
    assert (done.code, done.err) == (0, ""), done.output
    return done


def test_health_ignores_proxy_variables(installation: Installation) -> None:
    port = free_port()
    with listening(installation, listen=f"127.0.0.1:{port}"):
        installation.env |= PROXIES
        assert healthy(installation).out == f"healthy: http://127.0.0.1:{port}/livez responds with 200\n"


@pytest.mark.parametrize(
    ("listen", "requested"),
    [
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104  # the case under test
        ("[::]", "[::1]"),
        ("[::1]", "[::1]"),
        ("localhost", "localhost"),
        ("127.0.0.5", "127.0.0.5"),
    ],
)
def test_health_reaches_every_kind_of_address(installation: Installation, listen: str, requested: str) -> None:
    port = free_port("::1" if ":" in listen else "127.0.0.1")
    behind = {"public_url": "https://forwarder.example.com", "trusted_proxies": ["10.0.0.0/8"]}
    with listening(installation, listen=f"{listen}:{port}", **behind):
        assert healthy(installation, "--json").json()["address"] == f"http://{requested}:{port}/livez"


@pytest.mark.parametrize("listen", ["127.0.0.1", "[0:0:0:0:0:0:0:1]", "[::]"])
def test_health_does_not_verify_its_own_certificate(installation: Installation, listen: str, tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    folder.mkdir()
    certificate = self_signed(folder, address="192.0.2.1", ended=DAY)
    tls = {"tls_cert": str(certificate.file), "tls_key": str(folder / "server.key")}
    port = free_port("::1" if ":" in listen else "127.0.0.1")
    with listening(installation, listen=f"{listen}:{port}", public_url="https://f.example.com", **tls):
        assert healthy(installation, "--json").json()["address"].startswith("https://")


def test_health_prefers_the_health_listener(installation: Installation, tmp_path: Path) -> None:
    """The health listener has no TLS, even if the page has it."""
    folder = tmp_path / "tls"
    folder.mkdir()
    certificate = self_signed(folder)
    tls = {"tls_cert": str(certificate.file), "tls_key": str(folder / "server.key")}
    port, page = free_port(), free_port()
    with listening(installation, listen=f"127.0.0.1:{page}", health_listen=f"0.0.0.0:{port}", **tls):
        assert healthy(installation, "--json").json()["address"] == f"http://127.0.0.1:{port}/livez"


def test_health_takes_the_address_from_the_environment(installation: Installation) -> None:
    installation.env["FORWARDER_WEB__HEALTH_LISTEN"] = f"127.0.0.1:{free_port()}"
    with installation.start() as daemon:
        daemon.wait_for_log("health endpoints listening")
        healthy(installation)


@rooted
def test_health_reaches_a_proxied_network_address(installation: Installation) -> None:
    """A listener that accepts only a proxy accepts this machine too, also at an address that is not loopback."""
    behind = {"public_url": "https://forwarder.example.com", "trusted_proxies": ["203.0.113.9"]}
    installation.change("web", listen="192.0.2.7:8787", **behind)
    program = f"{sys.executable} -m forwarder -c {installation.settings_file}"
    script = f"""
        ip link set lo up && ip addr add 192.0.2.7/32 dev lo
        {program} run 2>daemon.log & pid=$!
        for _ in $(seq 100); do grep -q '"event": "web UI listening"' daemon.log && break; sleep 0.1; done
        {program} health; code=$?
        kill $pid; wait $pid; exit $code
    """
    done = subprocess.run(  # noqa: S603  # a fixed script
        ["unshare", "-n", "/bin/sh", "-c", script],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=60,
        env=installation.environment(),
        cwd=installation.directory,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "healthy: http://192.0.2.7:8787/livez responds with 200\n"), (
        done.stderr
    )


def test_readiness_names_the_failing_component(installation: Installation) -> None:
    installation.change("source", base_url="http://127.0.0.1:9")
    with listening(installation, listen=f"127.0.0.1:{free_port()}") as daemon:
        daemon.wait_until(lambda: "source is" in installation.run_command("health", "--ready").err)
        done = installation.run_command("health", "--ready")
        assert done.code == 1
        assert "responds with 503: source is" in done.err
        healthy(installation)


def test_readiness_of_a_working_daemon_is_healthy(installation: Installation) -> None:
    with listening(installation, listen=f"127.0.0.1:{free_port()}") as daemon:
        daemon.wait_until(lambda: installation.run_command("health", "--ready").code == 0)
        found = healthy(installation, "--ready", "--json").json()
    assert found["response"]["ready"] is True
    assert (found["status"], found["healthy"], found["hint"]) == (200, True, "")


def test_missing_response_names_address_cause_and_hint(installation: Installation) -> None:
    port = free_port()
    installation.change("web", listen=f"127.0.0.1:{port}")
    done = installation.run_command("health")
    assert done.code == 69
    first, second = done.err.splitlines()
    assert first == f"error: http://127.0.0.1:{port} (web.listen) cannot be reached: connection refused"
    assert second.startswith("hint:  start `forwarder run` on this machine; a change of [web] listen takes effect")
    found = installation.run_command("health", "--json")
    assert (found.code, found.json()["healthy"]) == (69, False)


def test_stopped_process_is_unhealthy_within_the_timeout(installation: Installation) -> None:
    """The kernel accepts the connection for a process that does not run."""
    with listening(installation, listen=f"127.0.0.1:{free_port()}") as daemon:
        daemon.send(signal.SIGSTOP)
        done = installation.run_command("health", timeout=20)
    assert done.code == 69
    assert "no response within 5 s" in done.err


@contextmanager
def answering(response: bytes) -> Iterator[int]:
    """Yield the port of another program with this response."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer, suppress(OSError):  # it may be closed before it has read everything
                peer.recv(65_536)
                peer.sendall(response)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(server.getsockname()[1])
        thread.join(10)


@pytest.mark.parametrize(
    ("response", "code", "reason"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n<html>It works!</html>", 1, "not as a forwarder: <html>It works!"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x1b[31mred\x1b[0m", 1, "not as a forwarder: �[31mred"),
        (b"HTTP/1.0 302 Found\r\nLocation: /login\r\n\r\n", 1, "responds with 302, but not as a forwarder"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 60_000, 1, "not as a forwarder"),
        (b'HTTP/1.0 503 No\r\n\r\n{"live": false, "stalled": ["source"]}', 1, "responds with 503: stalled: source"),
        (b'HTTP/1.0 503 No\r\n\r\n{"live": true}', 1, "responds with 503"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 69, "does not respond with HTTP"),
        (b"", 69, "does not respond with HTTP"),
    ],
)
def test_response_of_another_program_is_unhealthy(
    installation: Installation, response: bytes, code: int, reason: str
) -> None:
    with answering(response) as port:
        installation.change("web", listen=f"127.0.0.1:{port}")
        done = installation.run_command("health")
    assert done.code == code
    assert reason in done.err
    assert "Traceback" not in done.output


def test_health_without_a_listener_checks_the_lock(installation: Installation) -> None:
    done = installation.run_command("health")
    assert (done.code, "no process holds its lock" in done.err) == (69, True), done.output
    with RunningLock(installation.directory / "forwarder.db"):
        assert "no listener is configured" in healthy(installation).out
        done = installation.run_command("health", "--ready")
    assert (done.code, "health_listen" in done.err) == (78, True)


def test_health_with_port_zero_has_a_hint(installation: Installation) -> None:
    installation.change("web", listen="127.0.0.1:0")
    done = installation.run_command("health")
    assert done.code == 78
    assert "web.listen has port 0" in done.err


def test_invalid_settings_exit_78_if_nothing_runs(installation: Installation) -> None:
    installation.write("[web\n")
    done = installation.run_command("health")
    assert done.code == 78
    assert "not valid TOML" in done.err
    assert json.loads(installation.run_command("health", "--json").out)["healthy"] is False


@pytest.mark.parametrize("text", ["[web\n", '[web]\nlisten = "nowhere"\n', ""])
def test_invalid_edit_leaves_the_daemon_healthy(installation: Installation, text: str) -> None:
    """The daemon keeps its last good settings, so that its health check must not restart it."""
    installation.env["FORWARDER_WEB__HEALTH_LISTEN"] = f"127.0.0.1:{free_port()}"
    with installation.start() as daemon:
        daemon.wait_for_log("health endpoints listening")
        installation.write(text)
        healthy(installation)


def test_invalid_setting_of_another_section_is_ignored(installation: Installation) -> None:
    with listening(installation, listen=f"127.0.0.1:{free_port()}"):
        installation.change("destination", region=None)
        healthy(installation)


@pytest.mark.parametrize("extra", [{"PYTHONIOENCODING": "latin-1"}, {"HOME": "/nonexistent"}, {"PATH": ""}])
def test_health_works_in_any_environment(installation: Installation, extra: dict[str, str]) -> None:
    with listening(installation, listen=f"127.0.0.1:{free_port()}"):
        installation.env |= extra
        healthy(installation)
