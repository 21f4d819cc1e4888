"""A user's journey through the web UI, in a real browser, with a real daemon between the two fakes."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.chrome import MAX_WAIT_MILLISECONDS, BrowserPage, chrome
from tests.browser.sample_ledger import record_one_day
from tests.e2e.harness import fail, polls
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.bus_faults import entry_codes
from tests.fakes.eventbridge import BUS, KEY, REGION, StrictEventBridge
from tests.harness.installation import Installation
from tests.harness.ports import free_port
from tests.harness.process import ForwarderProcess, eventually, never

pytestmark = pytest.mark.browser

expect.set_options(timeout=MAX_WAIT_MILLISECONDS)
MAX_WAIT_SECONDS = MAX_WAIT_MILLISECONDS / 1000


@dataclass
class System:
    installation: Installation
    daemon: ForwarderProcess
    alloy: FakeAlloy
    bus: StrictEventBridge
    address: str
    token: str

    def delivered_ids(self) -> list[str]:
        """Return the sorted execution IDs of the delivered events. A test event has no execution ID."""
        return sorted(each.detail["executionId"] for each in list(self.bus.delivered) if "executionId" in each.detail)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chrome() as browser:
        yield browser


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """Yield a forwarder with the settings of `init` and other addresses: disabled, without keys and workflows."""
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        alloy.api.add_workflow("sync-orders")
        listen = f"127.0.0.1:{free_port()}"
        installation = Installation(tmp_path, alloy=alloy.url, bus=bus.url)
        installation.settings_file.unlink()
        assert installation.run_command("init").code == 0
        installation.change(enabled=False)
        installation.change("source", workflows=[])
        installation.change("destination", event_bus="not-chosen-yet", region="us-east-1")
        installation.change("web", listen=listen)
        record_one_day(tmp_path / "forwarder.db")
        token = installation.run_command("web", "create-token").out.strip()
        with installation.start() as daemon:
            daemon.wait_for_log('"web UI listening"', listen, within=MAX_WAIT_SECONDS)
            yield System(installation, daemon, alloy, bus, f"http://{listen}", token)
            assert daemon.stop() == 0


def log_in(page: Page, token: str) -> None:
    page.goto("/")
    page.get_by_label("Admin token").fill(token)
    page.get_by_role("button", name="Log in").click()


def switch(page: Page, *, on: bool) -> None:
    button = page.get_by_role("switch", name="Forwarding")
    expect(button).to_have_attribute("aria-checked", "false" if on else "true")
    button.click()
    expect(button).to_have_attribute("aria-checked", "true" if on else "false")


def fill_in(page: Page) -> None:
    page.get_by_label("Access key ID").fill(KEY.id)
    page.get_by_label("Secret access key").fill(KEY.secret)
    page.get_by_label("Event bus").fill(BUS)
    page.get_by_label("Region").fill(REGION)
    page.get_by_label("API key").fill(API_KEY)
    page.get_by_label("Workflows", exact=True).fill("sync-orders")


def open_page(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).click()


def arrived_events(page: Page) -> Locator:
    """Return the events of this test in the list of the latest events."""
    events = page.get_by_role("region", name="Latest events")
    return events.get_by_role("listitem").filter(has_text="sku is not known to the warehouse")


def headline(page: Page) -> Locator:
    return page.get_by_role("heading", level=1)


def test_user_sets_up_watches_switches_and_retries(system: System, browser: Browser) -> None:
    browser_page = BrowserPage.of(browser, system.address)
    page = browser_page.page
    log_in_as_admin(system, browser_page)
    open_page(page, "Settings")
    check_and_save_settings(system, browser_page)
    switch(page, on=True)
    open_page(page, "Status")
    check_arriving_events(system, browser_page)
    open_page(page, "Status")
    switch_off_and_on(system, page)
    retry_dead_letter(system, browser_page)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Admin token")).to_be_visible()
    assert browser_page.console_errors == []


def log_in_as_admin(system: System, browser_page: BrowserPage) -> None:
    log_in(browser_page.page, "not the token")
    expect(browser_page.page.get_by_role("main").get_by_role("alert")).to_contain_text("not the admin token")
    browser_page.check_layout("login")
    browser_page.console_errors.clear()  # the browser reports the rejected login as an error
    log_in(browser_page.page, system.token)
    expect(headline(browser_page.page)).to_have_text("Switched off")


def check_and_save_settings(system: System, browser_page: BrowserPage) -> None:
    page, steps = browser_page.page, browser_page.page.locator(".steps li")
    fill_in(page)
    page.get_by_role("button", name="Check connection").click()
    expect(steps).to_contain_text(["Settings", "Logs API", "Workflows", "AWS identity", "Event bus"])
    expect(page.locator(".steps li.is-failed")).to_have_count(0)
    page.get_by_role("button", name="Send a test event").click()
    expect(steps).to_contain_text(["EventId", "not proved, although the bus accepted the event: there is no queue"])
    expect(page.locator(".steps li.is-failed")).to_have_count(0)
    (test,) = system.bus.delivered
    assert test.event_id in steps.first.inner_text()
    assert test.entry["DetailType"] == "Forwarder Test"
    assert "not-chosen-yet" in system.installation.settings_file.read_text()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    expect(page.locator("[id='hint-aws-access-key-id']")).to_contain_text(f"ends with {KEY.id[-4:]}")
    for secret in (KEY.id, KEY.secret, API_KEY):
        assert secret not in page.content()
    browser_page.check_layout("settings")


def check_arriving_events(system: System, browser_page: BrowserPage) -> None:
    page = browser_page.page
    expect(headline(page)).to_have_text("All is well")
    fail(system.alloy, "first", "second", workflow="sync-orders", outcome="failed-error-object", ago=1)
    expect(arrived_events(page)).to_have_count(2)
    expect(arrived_events(page).first.locator(".state")).to_have_text("sent")
    arrived_events(page).first.get_by_role("link").click()
    expect(page.get_by_text("Failing block")).to_be_visible()
    detail = json.loads(page.locator("pre.detail").inner_text())
    (event,) = [each for each in system.bus.delivered if each.detail.get("executionId") == detail["executionId"]]
    assert detail == event.detail
    detail_url = page.get_by_role("link", name="raw JSON").get_attribute("href")
    assert page.request.get(detail_url or "").text() == event.entry["Detail"]
    browser_page.check_layout("event")


def switch_off_and_on(system: System, page: Page) -> None:
    switch(page, on=False)
    expect(headline(page)).to_have_text("Switched off")
    system.daemon.wait_for_log("forwarding disabled", within=MAX_WAIT_SECONDS)
    polls_before = polls(system.alloy, "sync-orders")
    fail(system.alloy, "while-off", workflow="sync-orders", outcome="failed-error-object", ago=1)
    assert never(
        lambda: polls(system.alloy, "sync-orders") > polls_before + 1 or "while-off" in system.delivered_ids(), within=1
    )
    switch(page, on=True)
    expect(arrived_events(page)).to_have_count(3)
    assert eventually(lambda: system.delivered_ids() == ["first", "second", "while-off"], within=MAX_WAIT_SECONDS)


def retry_dead_letter(system: System, browser_page: BrowserPage) -> None:
    page = browser_page.page
    system.bus.next(entry_codes({0: "MalformedDetail"}))
    fail(system.alloy, "refused", workflow="sync-orders", outcome="failed-error-object", ago=1)
    dead_letters = page.get_by_role("region", name="Dead letters")
    expect(dead_letters.get_by_text("MalformedDetail")).to_be_visible()
    expect(page.locator(".counters .alarm")).to_contain_text("Dead letters")
    browser_page.check_layout("status")
    dead_letters.get_by_role("button", name="Retry refused").click()
    expect(dead_letters.get_by_text("None: the bus has accepted everything it was given.")).to_be_visible()
    assert eventually(lambda: "refused" in system.delivered_ids(), within=MAX_WAIT_SECONDS)
    page.goto("/")
    expect(page.get_by_text("Every failure that was found has been sent")).to_be_visible()
    browser_page.screenshot("page")


def test_every_page_without_scripts_works(system: System, browser: Browser) -> None:
    page = BrowserPage.of(browser, system.address, scripts=False).page
    log_in(page, system.token)
    expect(page.get_by_role("img", name=re.compile("Last hour: .* failures found"))).to_be_visible()
    page.get_by_text("As a table").first.click()
    expect(page.get_by_role("columnheader", name="Found").first).to_be_visible()
    open_page(page, "Settings")
    fill_in(page)
    page.get_by_label("Region").fill("Mars")
    page.get_by_role("button", name="Save").click()
    region = page.get_by_label("Region")
    expect(region).to_have_attribute("aria-invalid", "true")
    expect(region).to_have_value("Mars")
    expect(region).to_have_accessible_description(re.compile("Is not an AWS region"))
    fill_in(page)
    page.get_by_role("button", name="Check connection").click()
    expect(page.locator(".steps li")).to_have_count(5)
    expect(page.locator(".steps li.is-failed")).to_have_count(0)
    fill_in(page)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    switch(page, on=True)
    fail(system.alloy, "first", workflow="sync-orders", outcome="failed-error-object", ago=1)
    system.daemon.wait_until(lambda: system.delivered_ids() == ["first"], within=MAX_WAIT_SECONDS)
    open_page(page, "Status")
    expect(arrived_events(page)).to_have_count(1)
