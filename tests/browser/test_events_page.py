"""The list of events and the page of one event in a real browser, with a real daemon between the two fakes."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from forwarder.demo.sample_data import execution
from tests.browser import test_user_journey
from tests.browser.chrome import BrowserPage
from tests.browser.sample_ledger import record_dead_letters
from tests.browser.test_user_journey import System, headline, log_in, open_page
from tests.fakes.alloy import API_KEY
from tests.fakes.wire import utc_now

pytestmark = pytest.mark.browser

browser, system = test_user_journey.browser, test_user_journey.system


def open_events(system: System, browser: Browser, *, scripts: bool = True) -> BrowserPage:
    record_dead_letters(system.installation.settings_file.with_name("forwarder.db"), 3)
    browser_page = BrowserPage.of(browser, system.address, scripts=scripts)
    log_in(browser_page.page, system.token)
    open_page(browser_page.page, "Events")
    return browser_page


def show(page: Page) -> None:
    page.get_by_role("button", name="Show", exact=True).click()


def test_events_are_filtered_grouped_and_retried(system: System, browser: Browser) -> None:
    browser_page = open_events(system, browser)
    page = browser_page.page
    expect(headline(page)).to_have_text("Events")
    expect(page.locator(".events > li")).to_have_count(50)
    browser_page.check_layout("events")
    page.get_by_role("link", name="Earlier events").click()
    expect(page.get_by_role("link", name="First page")).to_be_visible()
    page.get_by_label("Text").fill("TEA-001")
    page.get_by_label("Group by message").check()
    show(page)
    expect(page.locator(".events > li")).to_have_count(1)
    page.get_by_role("link", name="Clear the filter").click()
    expect(page.locator(".group-count").first).to_be_visible()
    browser_page.check_layout("events-grouped")
    page.get_by_label("Group by message").uncheck()
    page.get_by_label("State").select_option("Dead letters")
    show(page)
    expect(headline(page)).to_have_text("Dead letters")
    page.get_by_text("Purge these 3 …").click()
    expect(page.get_by_role("button", name="Purge these 3 for good")).to_be_visible()
    browser_page.check_layout("events-dead")
    page.get_by_role("button", name="Retry these 3").click()
    expect(page.get_by_role("status")).to_have_text("3 dead letters are pending again.")
    expect(page.get_by_text("There is no dead letter.")).to_be_visible()
    page.goto("/events?text=x&to=yesterday&workflow=" + "x" * 2000)
    expect(page.get_by_role("main").get_by_role("alert")).to_contain_text("nothing was searched")
    expect(page.get_by_label("Found before")).to_have_accessible_description(re.compile("is not a time"))
    browser_page.check_layout("events-invalid")


def test_event_is_copied_sent_again_and_rerun(system: System, browser: Browser) -> None:
    system.installation.open_vault().set("alloy-api-key", API_KEY, utc_now())
    browser_page = open_events(system, browser)
    page = browser_page.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/events?state=sent&workflow=sync-orders")
    page.locator("a.event").first.click()
    id_ = page.locator("#copy-execution-id").inner_text()
    browser_page.check_layout("event-actions")
    for name, text in (("the execution ID", id_), ("the command", f"forwarder events show {id_}")):
        page.get_by_role("button", name=f"Copy {name}").click()
        expect(page.get_by_role("status").filter(has_text="Copied.").last).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == text
    page.get_by_role("button", name="Copy the JSON").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#detail ~ span [role=status]")).to_have_text("Copied.")
    page.get_by_text("Rerun in Alloy …").click()
    page.get_by_role("button", name="Run it again").click()
    expect(page.get_by_role("main").get_by_role("alert")).to_contain_text("Alloy did not accept the rerun")
    browser_page.check_layout("event-rerun-refused")
    system.alloy.api.add("sync-orders", execution("failed-error-object", id=id_, started=utc_now()))
    page.get_by_text("Rerun in Alloy …").click()
    page.get_by_role("button", name="Run it again").click()
    expect(page.get_by_text("Alloy runs it again:")).to_be_visible()
    assert system.alloy.api.reruns == [("sync-orders", id_)]
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_text("It will be sent again when forwarding is on, marked as a replay.")).to_be_visible()
    assert browser_page.console_errors == []


def test_text_is_selected_without_a_clipboard(system: System, browser: Browser) -> None:
    """Browsers offer a clipboard only with TLS or on this machine."""
    browser_page = open_events(system, browser)
    page = browser_page.page
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.goto("/event?id=dead-0")
    browser_page.check_layout("event-long-message")
    page.get_by_role("button", name="Copy the command").click()
    expect(page.get_by_text("It is selected: copy it with the keyboard.")).to_be_visible()
    assert page.evaluate("getSelection().toString()") == "forwarder events show dead-0"


def test_event_pages_work_without_scripts(system: System, browser: Browser) -> None:
    page = open_events(system, browser, scripts=False).page
    page.get_by_text("Workflow, execution and time").click()
    page.get_by_label("Execution ID").fill("dead-1")
    show(page)
    page.locator("a.event").click()
    expect(page.get_by_text("forwarder events show dead-1")).to_be_visible()
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".state")).to_have_text("pending")
