"""The settings page in a real browser, with a real daemon between the two fakes."""

import re

import pytest
from playwright.sync_api import Browser, Dialog, Page, Route, expect

from forwarder.demo.sample_data import execution
from tests.browser import test_user_journey
from tests.browser.chrome import BrowserPage
from tests.browser.test_user_journey import System, log_in, open_page
from tests.fakes.alloy import API_KEY
from tests.fakes.eventbridge import BUS, KEY, REGION
from tests.fakes.wire import utc_now

pytestmark = pytest.mark.browser

browser, system = test_user_journey.browser, test_user_journey.system


def open_settings(system: System, browser: Browser) -> BrowserPage:
    browser_page = BrowserPage.of(browser, system.address)
    log_in(browser_page.page, system.token)
    open_page(browser_page.page, "Settings")
    return browser_page


def save(page: Page) -> None:
    page.get_by_role("button", name="Save").click()


def test_first_invalid_field_has_the_focus(system: System, browser: Browser) -> None:
    browser_page = open_settings(system, browser)
    page = browser_page.page
    expect(page.get_by_label("Access key ID")).to_have_attribute("type", "text")
    page.get_by_label("Region").fill("Mars")
    page.get_by_label("API key").fill(API_KEY)
    page.get_by_label("Workflows", exact=True).fill("a\nb user=")
    save(page)
    alert = page.get_by_role("main").get_by_role("alert")
    expect(alert).to_contain_text("2 fields need attention")
    expect(alert).to_contain_text("Enter again before you save, because the page keeps no secret: API key.")
    expect(page.get_by_label("Region")).to_be_focused()
    expect(page.get_by_label("Region")).to_have_attribute("required", "")
    browser_page.check_layout("settings-refused")


def test_changed_address_asks_for_its_key_again(system: System, browser: Browser) -> None:
    """The addresses are closed at first, and open if one of them has a fault."""
    system.installation.open_vault().set("alloy-api-key", API_KEY, utc_now())
    page = open_settings(system, browser).page
    expect(page.get_by_label("Address of the logs API")).not_to_be_visible()
    page.get_by_text("API addresses", exact=True).click()
    page.get_by_label("Address of the logs API").fill("http://127.0.0.1:1")
    save(page)
    expect(page.get_by_label("API key")).to_be_focused()
    expect(page.get_by_label("API key")).to_have_accessible_description(re.compile("Has to be entered again"))


def test_chosen_workflows_fill_the_field(system: System, browser: Browser) -> None:
    system.alloy.api.add("sync-orders", execution("success", id="e", started=utc_now()), user_id="u-1")
    browser_page = open_settings(system, browser)
    page, field = browser_page.page, browser_page.page.get_by_label("Workflows", exact=True)
    field.fill("other user=u-1")
    page.get_by_label("API key").fill(API_KEY)
    page.get_by_role("button", name="List workflows").click()
    box = page.get_by_role("checkbox", name="Workflow sync-orders")
    box.check()
    expect(field).to_have_value("other user=u-1\nsync-orders")
    browser_page.check_layout("settings-workflows")
    box.uncheck()
    expect(field).to_have_value("other user=u-1")
    field.fill("sync-orders")
    expect(box).to_be_checked()


def test_pressed_element_waits_with_its_update(system: System, browser: Browser) -> None:
    """A click is lost if the checklist replaces the element, or moves it, while it is pressed."""
    page = BrowserPage.of(browser, system.address).page
    log_in(page, system.token)
    held: list[Route] = []
    page.route("**/settings/checklist", lambda route: held.append(route))  # noqa: PLW0108  # Playwright marks a handler
    with page.expect_request("**/settings/checklist"):
        open_page(page, "Settings")
    while not held:  # the request comes before its route
        page.wait_for_timeout(10)
    help_text = page.locator("#help-test-event")
    summary = help_text.locator("summary")
    summary.hover()
    page.mouse.down()
    with page.expect_response("**/settings/checklist"):
        held[0].continue_()
    page.wait_for_timeout(500)  # enough for a page that would not wait
    expect(page.locator("#checklist-summary")).to_have_text("checking …")
    page.mouse.up()
    expect(help_text).to_have_attribute("open", "")
    expect(page.locator("#checklist-summary")).to_contain_text("need attention")
    expect(summary).to_be_focused()


@pytest.mark.parametrize("scripts", [True, False])
def test_focus_moves_no_button_for_a_while(system: System, browser: Browser, scripts: bool) -> None:
    """A field that gets the focus is scrolled into view. A click is lost if its button moves while it is pressed."""
    page = BrowserPage.of(browser, system.address, scripts=scripts).page
    log_in(page, system.token)
    open_page(page, "Settings")
    button = page.get_by_role("button", name="Save")
    before = button.bounding_box()
    page.get_by_label("Workflows", exact=True).focus()
    after = button.bounding_box()
    page.wait_for_timeout(500)  # a smooth scroll takes less
    assert button.bounding_box() == after != before


def test_leaving_is_confirmed_only_with_changes(system: System, browser: Browser) -> None:
    page = open_settings(system, browser).page
    asked: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", dismiss)
    page.get_by_label("Region").click()
    open_page(page, "Status")
    expect(page).to_have_url(re.compile("/$"))
    assert asked == []
    open_page(page, "Settings")
    page.get_by_label("Region").fill("eu-west-3")
    open_page(page, "Status")
    expect(page).to_have_url(re.compile("/$"))
    assert asked == ["beforeunload"]
    open_page(page, "Settings")
    page.get_by_label("Region").fill("eu-west-3")
    save(page)
    expect(page.get_by_role("status")).to_contain_text("Saved")
    assert asked == ["beforeunload"]


def test_save_is_visible_with_300_workflows(system: System, browser: Browser) -> None:
    system.installation.change("source", workflows=[f"workflow-{number:03}" for number in range(300)])
    page = open_settings(system, browser).page
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.get_by_label("Workflows", exact=True).scroll_into_view_if_needed()
        expect(page.get_by_role("button", name="Save")).to_be_in_viewport(ratio=1)
        page.get_by_label("Region").scroll_into_view_if_needed()
        expect(page.get_by_role("button", name="Save")).to_be_in_viewport(ratio=1)


def test_checklist_leads_to_a_checked_connection(system: System, browser: Browser) -> None:
    """The checks run on load and after the save, and name a workflow that the API does not know."""
    browser_page = open_settings(system, browser)
    page = browser_page.page
    expect(page.locator("#checklist-summary")).to_contain_text("need attention")
    for part in ("alloy-key", "workflows"):
        expect(page.locator(f"#item-{part} .state")).to_have_text("Missing")
    for summary in page.locator(".check-item summary").all():
        summary.click()
    browser_page.check_layout("settings-checklist")
    page.get_by_label("Access key ID").fill(KEY.id)
    page.get_by_label("Secret access key").fill(KEY.secret)
    page.get_by_label("Event bus name").fill(BUS)
    page.get_by_label("Region").fill(REGION)
    page.get_by_label("API key").fill(API_KEY)
    page.get_by_label("Workflows", exact=True).fill(
        "https://embedded.runalloy.com/2024-03/workflows/sync-orders/, gone-1"
    )
    save(page)
    expect(page.get_by_role("status")).to_contain_text("Saved")
    for part in ("alloy-key", "aws-keys", "bus"):
        expect(page.locator(f"#item-{part} .state")).to_have_text("Checked")
    expect(page.locator("#item-workflows")).to_contain_text("gone-1")
    expect(page.locator("#item-workflows .state")).to_have_text("Failed")
    expect(page.locator("#checklist-summary")).to_have_text("1 of 5 need attention")
    page.get_by_label("Workflows", exact=True).fill("sync-orders")
    save(page)
    expect(page.locator("#item-workflows .state")).to_have_text("Checked")
    expect(page.locator("#checklist-summary")).to_have_text("nothing is missing")
    page.get_by_role("button", name="Send a test event").click()
    expect(page.locator("#item-test-event .state")).to_have_text("Accepted")
    browser_page.check_layout("settings-checked")
    assert browser_page.console_errors == []
