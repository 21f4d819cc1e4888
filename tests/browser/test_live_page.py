"""The live parts of the page in a real browser: lost contact, sessions after a restart, and the charts."""

import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chrome import MAX_WAIT_MILLISECONDS, BrowserPage, chrome
from tests.browser.sample_ledger import record_one_day
from tests.e2e.harness import fail
from tests.fakes.alloy import FakeAlloy, unavailable
from tests.fakes.bus_faults import entry_codes
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation
from tests.harness.ports import free_port
from tests.harness.process import ForwarderProcess

pytestmark = pytest.mark.browser

MAX_LOSS_SECONDS = 5.0
"""The time within which a page shows that the daemon has died."""


@dataclass
class LiveSystem:
    installation: Installation
    daemon: ForwarderProcess
    listen: str
    token: str
    alloy: FakeAlloy
    bus: StrictEventBridge

    def restart(self) -> None:
        self.daemon = self.installation.start()
        self.daemon.wait_for_log('"web UI listening"', self.listen)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chrome() as browser:
        yield browser


@pytest.fixture
def system(tmp_path: Path) -> Iterator[LiveSystem]:
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        alloy.api.add_workflow("w")
        listen = f"127.0.0.1:{free_port()}"
        installation = Installation(tmp_path, alloy=alloy.url, bus=bus.url, web={"listen": listen})
        installation.create_vault()
        record_one_day(installation.ledger_file)
        token = installation.run_command("web", "create-token").out.strip()
        with installation.start() as daemon:
            daemon.wait_for_log('"web UI listening"', listen)
            system = LiveSystem(installation, daemon, listen, token, alloy, bus)
            yield system
            system.daemon.kill()


def open_status(system: LiveSystem, browser: Browser) -> BrowserPage:
    browser_page = BrowserPage.of(browser, f"http://{system.listen}")
    page = browser_page.page
    page.goto("/")
    page.get_by_label("Admin token").fill(system.token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("All is well", timeout=MAX_WAIT_MILLISECONDS)
    return browser_page


def expect_lost_contact(page: Page, died_at: float) -> None:
    """Check that the page shows the loss, no later than MAX_LOSS_SECONDS after the daemon has died."""
    remaining = 1000 * (MAX_LOSS_SECONDS - (time.monotonic() - died_at))
    expect(page.get_by_role("alert")).to_contain_text("No contact since", timeout=max(1, remaining))
    assert page.title().startswith("No contact since")
    for button in page.get_by_role("button").all():
        expect(button).to_be_disabled()


def expect_recovered_contact(page: Page, title: str) -> None:
    expect(page.get_by_role("alert")).to_be_hidden(timeout=MAX_WAIT_MILLISECONDS)
    expect(page).to_have_title(title)
    expect(page.get_by_role("button", name="Log out")).to_be_enabled()


def test_page_shows_a_killed_or_stopped_daemon_and_recovers(system: LiveSystem, browser: Browser) -> None:
    """The status page has a stream, and the settings page has none. The session outlives the process."""
    status = open_status(system, browser)
    settings = status.page.context.new_page()
    settings.goto("/settings")
    settings.get_by_label("Region").fill("eu-west-1")
    system.daemon.kill()
    died_at = time.monotonic()
    expect_lost_contact(status.page, died_at)
    expect_lost_contact(settings, died_at)
    status.check_layout("no-contact")
    system.restart()
    expect_recovered_contact(status.page, "All is well · forwarder")
    expect_recovered_contact(settings, "Settings · forwarder")
    expect(settings.get_by_label("Region")).to_have_value("eu-west-1")
    assert status.page.url == f"http://{system.listen}/"
    system.daemon.send(signal.SIGSTOP)  # its connections stay open
    try:
        expect_lost_contact(status.page, time.monotonic())
    finally:
        system.daemon.send(signal.SIGCONT)
    expect_recovered_contact(status.page, "All is well · forwarder")
    status.page.reload()
    expect(status.page.get_by_role("heading", level=1)).to_have_text("All is well")


def test_dead_letters_and_next_attempt_are_shown(system: LiveSystem, browser: Browser) -> None:
    browser_page = open_status(system, browser)
    page, headline = browser_page.page, browser_page.page.get_by_role("heading", level=1)
    system.bus.next(entry_codes({0: "MalformedDetail"}))
    fail(system.alloy, "refused", ago=1)
    expect(headline).to_have_text("1 event was rejected by the bus", timeout=MAX_WAIT_MILLISECONDS)
    expect(page.get_by_role("link", name="Show them").first).to_have_attribute("href", "/events?state=dead")
    browser_page.check_layout("rejected")
    system.installation.change("source", min_interval="20s", max_interval="60s")
    system.alloy.always(lambda _: unavailable())
    expect(headline).to_have_text("The logs API needs attention", timeout=MAX_WAIT_MILLISECONDS)
    expect(page.get_by_text(re.compile(r"in \d+ s"))).to_be_visible()
    browser_page.check_layout("next-attempt")
    system.alloy.clear()
    page.get_by_role("button", name="try now").click()
    expect(headline).to_have_text("1 event was rejected by the bus", timeout=MAX_WAIT_MILLISECONDS)
    assert not [each for each in browser_page.console_errors if "Content Security Policy" in each]


def test_chart_is_used_by_keyboard_and_pointer(system: LiveSystem, browser: Browser) -> None:
    browser_page = open_status(system, browser)
    page = browser_page.page
    chart, tip = page.get_by_role("slider", name=re.compile("^Last day")), page.locator(".tip")
    expect(page.locator("svg.plot[tabindex]")).to_have_count(2)
    page.get_by_text("As a table").first.focus()
    page.keyboard.press("Tab")
    expect(chart).to_be_focused()
    newest = tip.inner_text()
    assert re.fullmatch(r"\d\d:\d\d – \d\d:\d\d UTC: \d+ found, \d+ sent", newest)
    page.keyboard.press("ArrowLeft")
    expect(tip).not_to_have_text(newest)
    assert chart.get_attribute("aria-valuetext") == f"{tip.inner_text()}. Enter shows these events."
    browser_page.check_layout("chart")
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    bar = chart.locator("g[data-from]").first
    bar.hover()
    expect(tip).to_be_visible()
    start = bar.get_attribute("data-from")
    bar.click()
    expect(page).to_have_url(re.compile(re.escape(f"/events?{urlencode({'from': start})}&to=")))
    page.go_back()
    chart.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/events\?from="))
    assert not [each for each in browser_page.console_errors if "Content Security Policy" in each]


def test_first_touch_of_a_bar_shows_numbers_the_second_events(system: LiveSystem, browser: Browser) -> None:
    state = open_status(system, browser).page.context.storage_state()
    context = browser.new_context(
        base_url=f"http://{system.listen}", storage_state=state, has_touch=True, viewport={"width": 360, "height": 800}
    )
    page = context.new_page()
    page.goto("/")
    bar = page.get_by_role("slider", name=re.compile("^Last day")).locator("g[data-from]").last
    bar.tap()
    expect(page.locator(".tip")).to_contain_text("found")
    expect(page).to_have_url(f"http://{system.listen}/")
    bar.tap()
    expect(page).to_have_url(re.compile(r"/events\?from="))
