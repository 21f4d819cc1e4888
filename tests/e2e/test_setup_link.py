"""The link that `run --setup` prints in a terminal, until the first event is sent."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from tests.e2e.harness import fail, sent
from tests.e2e.terminal import terminal_process
from tests.e2e.test_setup import empty
from tests.e2e.web_client import http_request, log_in
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import BUS, KEY, REGION, StrictEventBridge
from tests.harness.installation import Installation
from tests.harness.process import eventually

__all__ = ["empty"]

LINK = r"(http://127\.0\.0\.1:\d+/setup/[\w-]{43})"


def test_setup_link_in_a_terminal_leads_to_the_first_event(
    empty: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """The link creates the admin token and a session; saving the form on the page begins forwarding."""
    fail(alloy, "a")
    with terminal_process(empty, "run", "--setup") as terminal:
        link = terminal.wait_for(LINK)
        terminal.wait_for("(not configured)")
        page, _, token = link.partition("/setup/")
        assert http_request(link)[0] == 200
        form = {"Origin": page, "Content-Type": "application/x-www-form-urlencoded"}
        status, text = http_request(link, "POST", headers=form)
        assert status == 200
        (admin_token,) = re.findall(r'value="([\w-]{43})"', text)
        assert http_request(link)[0] == 404
        cookie = log_in(page, admin_token)
        fields = {
            "destination.event_bus": BUS,
            "destination.region": REGION,
            "event.source": "alloy.embedded",
            "event.detail_type": "Workflow Execution Failed",
            "source.version": "2024-03",
            "source.workflows": "w",
            "alloy-api-key": API_KEY,
            "aws-access-key-id": KEY.id,
            "aws-secret-access-key": KEY.secret,
        }
        status, text = http_request(f"{page}/settings", "POST", urlencode(fields), form | {"Cookie": cookie})
        assert (status, text) == (303, "/settings?saved")
        assert eventually(lambda: sent(bus) == ["a"])
        saved = empty.run_command("status", "--json").out + http_request(f"{page}/readyz")[1]
        assert terminal.interrupt() == 0
    assert token not in saved
    assert terminal.screen.count(token) == 1
    assert admin_token not in terminal.screen + saved


def test_setup_link_is_not_printed_for_other_addresses(empty: Installation) -> None:
    """A page that a network can open shows no link: the log names `web create-token`."""
    empty.env |= {
        "FORWARDER_WEB__LISTEN": "0.0.0.0:0",
        "FORWARDER_WEB__PUBLIC_URL": "https://forwarder.example.com",
        "FORWARDER_WEB__TRUSTED_PROXIES": '["127.0.0.1"]',
    }
    with terminal_process(empty, "run", "--setup") as terminal:
        terminal.wait_for("(not configured)")
        assert terminal.interrupt() == 0
    assert "/setup/" not in terminal.screen
    assert "web create-token" in terminal.screen


def test_setup_link_is_not_printed_beside_an_admin_token(empty: Installation) -> None:
    empty.run_command("init")
    assert empty.run_command("web", "create-token").code == 0
    with terminal_process(empty, "run", "--setup") as terminal:
        terminal.wait_for("(not configured)")
        assert terminal.interrupt() == 0
    assert "/setup/" not in terminal.screen
