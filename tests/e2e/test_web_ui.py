"""The web UI, the health endpoints and the webhook of a real daemon."""

from __future__ import annotations

import json
import re
import signal
import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.e2e.harness import fail, numbered, polls, sent
from tests.e2e.web_client import create_webhook, http_request, log_in, metric, web_address
from tests.fakes.alloy import FakeAlloy
from tests.fakes.bus_faults import entry_codes, reset_after, slow
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation
from tests.harness.process import ForwarderProcess


@pytest.fixture
def daemon(installation: Installation) -> Iterator[ForwarderProcess]:
    installation.change("web", listen="127.0.0.1:0")
    with installation.start() as daemon:
        yield daemon


def test_token_of_create_token_opens_the_web_ui(installation: Installation, daemon: ForwarderProcess) -> None:
    page = web_address(daemon)
    assert http_request(f"{page}/")[0] == 303
    cookie = log_in(page, installation.run_command("web", "create-token").out.strip())
    assert http_request(f"{page}/", headers={"Cookie": cookie})[0] == 200


def test_save_on_the_page_works_with_the_file_of_init(installation: Installation) -> None:
    """The file is that of `init`, with the two values that a start requires."""
    for name in ("forwarder.toml", "forwarder.keys", "forwarder.master-key"):
        (installation.directory / name).unlink()
    assert installation.run_command("init").code == 0
    text = (
        installation.settings_file.read_text()
        .replace('event_bus = ""', 'event_bus = "first"')
        .replace('region = ""', 'region = "us-east-1"')
    )
    installation.write(
        text.replace("\n[web]", '\n[web]\nlisten = "127.0.0.1:0"').replace("enabled = true", "enabled = false")
    )
    token = installation.run_command("web", "create-token").out.strip()
    with installation.start() as daemon:
        page = web_address(daemon)
        headers = {"Cookie": log_in(page, token), "Origin": page, "Content-Type": "application/x-www-form-urlencoded"}
        form = {"destination.event_bus": "second", "destination.region": "eu-west-1", "source.workflows": "w"}
        form |= {"event.source": "alloy.embedded", "event.detail_type": "Workflow Execution Failed"}
        assert http_request(f"{page}/settings", "POST", urlencode(form), headers) == (303, "/settings?saved")
        daemon.wait_for_log("settings reloaded")
    saved = tomllib.loads(installation.settings_file.read_text())
    assert (saved["format"], saved["destination"]) == (1, {"event_bus": "second", "region": "eu-west-1"})
    assert saved["source"]["workflows"] == ["w"]


def test_web_ui_works_while_disabled(installation: Installation, daemon: ForwarderProcess) -> None:
    page = web_address(daemon)
    cookie = log_in(page, installation.run_command("web", "create-token").out.strip())
    for enabled in (False, True, False):
        installation.change(enabled=enabled)
        daemon.wait_until(lambda: metric(page, "enabled") == enabled)  # noqa: B023  # called in this iteration only
        daemon.wait_until(lambda: http_request(f"{page}/readyz")[0] == 200)
        assert http_request(f"{page}/", headers={"Cookie": cookie})[0] == 200


def test_metrics_count_events_without_identifiers(
    daemon: ForwarderProcess, bus: StrictEventBridge, alloy: FakeAlloy
) -> None:
    page = web_address(daemon)
    fail(alloy, *numbered(12, "planted"))
    daemon.wait_until(lambda: len(sent(bus)) == 12)
    daemon.wait_until(lambda: metric(page, "events_sent_total") == 12)
    daemon.wait_until(lambda: metric(page, "executions_deduplicated_total") >= 12)
    assert metric(page, "executions_recorded_total") == 12
    assert metric(page, "executions_listed_total") >= 24
    assert metric(page, "events_pending") == 0
    assert metric(page, "delivery_lag_seconds_count") == 12
    _, text = http_request(f"{page}/metrics")
    assert "planted" not in text
    assert 'forwarder_source_responses_total{code="200"}' in text
    for component in ("source", "bus", "ledger"):
        assert f'forwarder_last_success_timestamp_seconds{{component="{component}"}}' in text


def test_metrics_count_the_outcome_of_each_attempt(
    daemon: ForwarderProcess, bus: StrictEventBridge, alloy: FakeAlloy
) -> None:
    page = web_address(daemon)
    daemon.wait_until(lambda: http_request(f"{page}/readyz")[0] == 200)
    for id_, fault, name in (
        ("throttled", entry_codes({0: "ThrottlingException"}), 'events_retried_total{code="ThrottlingException"}'),
        ("new", entry_codes({0: "planted-code"}), 'events_retried_total{code="other"}'),
        ("malformed", entry_codes({0: "MalformedDetail"}), 'events_dead_lettered_total{code="MalformedDetail"}'),
        ("lost", reset_after(delivered=True), "events_unknown_total"),
    ):
        bus.next(fault)
        fail(alloy, id_, ago=-1)
        daemon.wait_until(lambda: metric(page, name) == 1)  # noqa: B023  # called in this iteration only
        daemon.wait_until(lambda: metric(page, "events_pending") == 0)
    assert sorted(set(sent(bus))) == ["lost", "new", "throttled"]
    assert "planted-code" not in http_request(f"{page}/metrics")[1]


def test_draining_daemon_is_not_ready_and_responds(
    daemon: ForwarderProcess, bus: StrictEventBridge, alloy: FakeAlloy
) -> None:
    page = web_address(daemon)
    daemon.wait_until(lambda: http_request(f"{page}/readyz")[0] == 200)
    bus.next(slow(60))
    fail(alloy, "in-flight")
    daemon.wait_until(lambda: len(bus.delivered) == 1)
    daemon.send(signal.SIGTERM)
    daemon.wait_for_log('"event": "stopping"')
    status, text = http_request(f"{page}/readyz")
    assert (status, json.loads(text)["draining"]) == (503, True)
    assert http_request(f"{page}/livez")[0] == 200
    assert daemon.wait(within=60) == 0
    assert sent(bus) == ["in-flight"]


@pytest.fixture
def idle_daemon(installation: Installation) -> Iterator[ForwarderProcess]:
    """Yield a daemon that has polled once and polls again after an hour."""
    installation.change("web", listen="127.0.0.1:0")
    installation.change("source", min_interval="1h", max_interval="1h")
    with installation.start() as daemon:
        daemon.wait_until(lambda: metric(web_address(daemon), "poll_duration_seconds_count") == 1)
        yield daemon


def test_webhook_triggers_a_poll_of_a_quiet_workflow(
    installation: Installation, idle_daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    webhook_url = create_webhook(installation, web_address(idle_daemon))
    fail(alloy, "real-time")
    assert http_request(webhook_url, "POST", json.dumps({"workflowId": "w", "executionId": "real-time"}))[0] == 202
    idle_daemon.wait_until(lambda: sent(bus) == ["real-time"])
    assert http_request(webhook_url, "POST", json.dumps({"workflowId": "elsewhere"}))[0] == 204
    assert http_request(webhook_url[:-1], "POST")[0] == 404


def test_webhook_before_the_log_is_followed_by_a_later_poll(
    installation: Installation, idle_daemon: ForwarderProcess, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    webhook_url = create_webhook(installation, web_address(idle_daemon))
    http_request(webhook_url, "POST", json.dumps({"workflowId": "w"}))
    idle_daemon.wait_until(lambda: polls(alloy) >= 2)
    fail(alloy, "listed-later")
    idle_daemon.wait_until(lambda: sent(bus) == ["listed-later"])


def test_webhook_while_disabled_triggers_nothing(
    installation: Installation, daemon: ForwarderProcess, alloy: FakeAlloy
) -> None:
    page = web_address(daemon)
    webhook_url = create_webhook(installation, page)
    installation.change(enabled=False)
    daemon.wait_for_log("forwarding disabled")
    polls_before = polls(alloy)
    assert http_request(webhook_url, "POST", json.dumps({"workflowId": "w"}))[0] == 204
    assert polls(alloy) == polls_before


def test_address_in_use_ends_the_start_with_a_hint(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as in_use:
        installation.change("web", listen=f"127.0.0.1:{in_use.getsockname()[1]}")
        done = installation.run_command("run")
    assert done.code == 75
    assert "web.listen" in done.err
    assert "hint:" in done.err


def test_public_address_without_tls_ends_the_start_with_a_hint(installation: Installation) -> None:
    installation.change("web", listen="0.0.0.0:0")
    done = installation.run_command("run")
    assert done.code == 78
    assert "tls_cert" in done.err


def test_token_is_printed_once_and_stored_as_a_digest(installation: Installation) -> None:
    installation.change("web", listen="127.0.0.1:8787")
    done = installation.run_command("web", "create-token")
    token = done.out.strip()
    assert re.fullmatch(r"[\w-]{43}", token)
    assert token not in done.err
    assert token not in (installation.directory / "forwarder.keys").read_text()
    assert installation.run_command("web", "create-token").out.strip() != token
    assert "web-token" not in installation.run_command("keys", "show").out
    assert installation.run_command("keys", "set", "web-token-sha256", stdin="x").code == 2


@pytest.mark.parametrize("command", ["create-token", "create-webhook"])
def test_web_command_without_a_web_ui_creates_no_token(installation: Installation, command: str) -> None:
    installation.change("web", listen="")
    done = installation.run_command("web", command)
    assert (done.code, done.out) == (2, "")
    assert "web.listen" in done.err


def test_webhook_address_is_the_public_one(installation: Installation) -> None:
    installation.change("web", listen="127.0.0.1:8787", public_url="https://forwarder.example.com")
    assert re.fullmatch(
        r"https://forwarder\.example\.com/hooks/alloy/[\w-]{43}",
        installation.run_command("web", "create-webhook").out.strip(),
    )


def test_rotation_keeps_the_tokens(installation: Installation, daemon: ForwarderProcess) -> None:
    page = web_address(daemon)
    token = installation.run_command("web", "create-token").out.strip()
    assert installation.run_command("keys", "rotate").code == 0
    assert log_in(page, token)


@pytest.mark.parametrize(("public_url", "is_warned"), [("", True), ("https://forwarder.example.com", False)])
def test_webhook_of_a_loopback_address_is_warned_of(
    installation: Installation, public_url: str, is_warned: bool
) -> None:
    installation.change("web", listen="127.0.0.1:8787", public_url=public_url)
    done = installation.run_command("web", "create-webhook")
    assert done.code == 0
    assert ("Alloy cannot reach this address" in done.err, "public_url" in done.err) == (is_warned, is_warned)


def test_webhook_address_is_public_before_the_bus_is_set(tmp_path: Path) -> None:
    """The keys of a fleet in Kubernetes are created in a folder whose other settings stay empty."""
    folder = Installation.at(tmp_path)
    folder.env = {"FORWARDER_WEB__PUBLIC_URL": "https://forwarder.example.com"}
    assert folder.run_command("init").code == 0
    assert folder.run_command("web", "create-webhook").out.startswith("https://forwarder.example.com/hooks/alloy/")
