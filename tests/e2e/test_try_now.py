""" "Try now" on the page of a real daemon: it ends a backoff of the forwarder, and no pause that the API requested."""

from __future__ import annotations

from urllib.parse import urlencode

from tests.e2e.harness import fail, polls, sent
from tests.e2e.web_client import http_request, log_in, web_address
from tests.fakes.alloy import FakeAlloy, too_many_requests, unavailable
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation
from tests.harness.process import ForwarderProcess, never


def open_page(installation: Installation, daemon: ForwarderProcess) -> tuple[str, dict[str, str]]:
    """Log in, and return the address of the page and the headers of a change."""
    page = web_address(daemon)
    cookie = log_in(page, installation.run_command("web", "create-token").out.strip())
    return page, {"Cookie": cookie, "Origin": page, "Content-Type": "application/x-www-form-urlencoded"}


def try_now(page: str, headers: dict[str, str], component: str = "source") -> None:
    assert http_request(f"{page}/retry-now", "POST", urlencode({"component": component}), headers) == (303, "/")


def test_try_now_repeats_a_failed_poll(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    """The next poll would come a minute later at the earliest."""
    installation.change("web", listen="127.0.0.1:0")
    installation.change("source", min_interval="1m", max_interval="2m")
    alloy.always(lambda _: unavailable())
    with installation.start() as daemon:
        page, headers = open_page(installation, daemon)
        daemon.wait_for_log('"source"', "FAILED")
        daemon.wait_until(lambda: 'name="component" value="source"' in http_request(f"{page}/", headers=headers)[1])
        alloy.clear()
        fail(alloy, "a")
        try_now(page, headers)
        daemon.wait_until(lambda: sent(bus) == ["a"])
        assert daemon.stop() == 0


def test_try_now_keeps_a_pause_that_the_api_requested(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("web", listen="127.0.0.1:0")
    alloy.always(lambda _: too_many_requests("3600"))
    with installation.start() as daemon:
        page, headers = open_page(installation, daemon)
        daemon.wait_until(lambda: "as the API requested" in http_request(f"{page}/", headers=headers)[1])
        assert 'name="component" value="source"' not in http_request(f"{page}/", headers=headers)[1]
        before = polls(alloy)
        try_now(page, headers)
        assert never(lambda: polls(alloy) > before, within=1)
