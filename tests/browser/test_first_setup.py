"""The set-up of a new user in a browser: from an empty folder to a forwarded failure, with the real program."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from forwarder.delivery.canary import DETAIL_TYPE
from forwarder.demo.sample_data import execution
from tests.browser.chrome import HEIGHT, MAX_WAIT_MILLISECONDS, WIDTHS, BrowserPage, chrome
from tests.e2e.harness import fail
from tests.e2e.terminal import terminal_process
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import BUS, KEY, REGION, StrictEventBridge
from tests.fakes.wire import utc_now
from tests.harness.installation import Installation
from tests.harness.process import eventually

pytestmark = pytest.mark.browser

expect.set_options(timeout=MAX_WAIT_MILLISECONDS)

LINK = r"(http://127\.0\.0\.1:\d+/setup/[\w-]{43})"

MAX_ACTIONS = 12
"""Inputs and clicks from the link in the terminal to a test event on the bus."""


class NewUser:
    """A person at the page. `actions` counts inputs and clicks."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.actions = 0

    def click(self, target: Locator) -> None:
        target.click()
        self.actions += 1

    def press(self, name: str) -> None:
        self.click(self.page.get_by_role("button", name=name, exact=True))

    def enter(self, label: str, value: str) -> None:
        self.page.get_by_label(re.compile(rf"^{label}")).fill(value)
        self.actions += 1


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chrome() as browser:
        yield browser


@pytest.mark.parametrize(("width", "prepared"), [(WIDTHS[0], []), (WIDTHS[1], []), (WIDTHS[1], ["init"])])
def test_new_user_sets_up_in_the_browser(tmp_path: Path, browser: Browser, width: int, prepared: list[str]) -> None:
    """The folder is empty, or has the files of `init`. The comments of the settings file survive."""
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        alloy.api.add_workflow("sync-orders")
        alloy.api.add("sync-orders", execution("success", id="e", started=utc_now()), user_id="u-1")
        installation = Installation.at(tmp_path)
        installation.env = {
            "FORWARDER_WEB__LISTEN": "127.0.0.1:0",
            "FORWARDER_SOURCE__BASE_URL": alloy.url,
            "FORWARDER_SOURCE__MIN_INTERVAL": "100ms",
            "FORWARDER_DESTINATION__ENDPOINT_URL": bus.url,
            "AWS_ENDPOINT_URL_STS": bus.url,
        }
        assert [installation.run_command(command).code for command in prepared] == [0] * len(prepared)
        with terminal_process(installation, "run", "--setup") as process:
            link = process.wait_for(LINK)
            browser_page = BrowserPage.of(browser, link[: link.index("/setup/")])
            browser_page.page.set_viewport_size({"width": width, "height": HEIGHT})
            set_up(browser_page, link)
            assert eventually(lambda: [each.entry["DetailType"] for each in list(bus.delivered)] == [DETAIL_TYPE])
            see_a_failure_arrive(browser_page, alloy, bus)
            assert browser_page.console_errors == []
            assert process.interrupt() == 0
        assert "# Settings of the forwarder." in installation.settings_file.read_text()


def set_up(browser_page: BrowserPage, link: str) -> None:
    page, user = browser_page.page, NewUser(browser_page.page)
    page.goto(link)
    browser_page.check_layout("setup-link")
    user.press("Create the admin token")
    expect(page.get_by_label("Admin token")).to_have_value(re.compile(r"^[\w-]{43}$"))
    browser_page.check_layout("setup-token")
    user.press("Continue")
    expect(page.locator("#checklist-summary")).to_contain_text("need attention")
    browser_page.check_layout("setup-settings")
    user.enter("API key", API_KEY)
    user.press("List workflows")
    user.click(page.get_by_role("checkbox", name=re.compile("sync-orders")))
    user.enter("Access key ID", KEY.id)
    user.enter("Secret access key", KEY.secret)
    user.enter("Event bus name", BUS)
    user.enter("Region", REGION)
    user.press("Save")
    expect(page.locator("#checklist-summary")).to_have_text("nothing is missing")
    for item in ("alloy-key", "workflows", "aws-keys", "bus"):
        expect(page.locator(f"#item-{item} .state")).to_have_text("Checked")
    user.press("Send a test event")
    expect(page.locator(".steps li")).to_contain_text(["EventId"])
    browser_page.check_layout("setup-complete")
    assert user.actions <= MAX_ACTIONS


def see_a_failure_arrive(browser_page: BrowserPage, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    page = browser_page.page
    page.get_by_role("navigation").get_by_role("link", name="Status").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("All is well")
    fail(alloy, "new-failure", workflow="sync-orders", ago=0)
    assert eventually(lambda: "new-failure" in [each.detail.get("executionId") for each in list(bus.delivered)])
    events = page.get_by_role("region", name="Latest events").get_by_role("listitem")
    expect(events.filter(has_text="sync-orders")).to_have_count(1)
