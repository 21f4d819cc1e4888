"""The whole story of a person with the page, in a real browser, before a real daemon between the two fakes."""

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.chrome import DEADLINE, Visitor, chrome
from tests.browser.history import live_a_day
from tests.e2e.harness import Daemon, Home, eventually, fail, never, polls
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.bus_faults import entry_codes
from tests.fakes.eventbridge import BUS, KEY, REGION, StrictEventBridge

pytestmark = pytest.mark.browser

expect.set_options(timeout=DEADLINE)
PATIENCE = DEADLINE / 1000


@dataclass
class Scene:
    home: Home
    daemon: Daemon
    alloy: FakeAlloy
    bus: StrictEventBridge
    address: str
    token: str

    def known(self) -> list[str]:
        """The executions whose event reached the bus, sorted; a test event has none."""
        return sorted(each.detail["executionId"] for each in list(self.bus.delivered) if "executionId" in each.detail)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chrome() as browser:
        yield browser


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A forwarder as `init` leaves it, but for its addresses: switched off, without keys, of no workflow."""
    with FakeAlloy() as alloy, StrictEventBridge() as bus, socket.create_server(("127.0.0.1", 0)) as free:
        alloy.api.add_workflow("sync-orders")
        listen = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        home = Home(tmp_path, alloy=alloy.url, bus=bus.url)
        home.file.unlink()
        assert home("init").code == 0
        home.change(enabled=False)
        home.change("source", workflows=[])
        home.change("destination", event_bus="not-chosen-yet", region="us-east-1")
        home.change("web", listen=listen)
        live_a_day(tmp_path / "forwarder.db")
        token = home("web", "token").out.strip()
        with home.daemon() as daemon:
            daemon.logs('"page"', listen, within=PATIENCE)
            yield Scene(home, daemon, alloy, bus, f"http://{listen}", token)
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


def go(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).click()


def arrived(page: Page) -> Locator:
    """The events of this story, in the list of the latest."""
    events = page.get_by_role("region", name="Latest events")
    return events.get_by_role("listitem").filter(has_text="sku is not known to the warehouse")


def headline(page: Page) -> Locator:
    return page.get_by_role("heading", level=1)


def test_a_person_sets_it_up_watches_it_switches_it_and_retries_a_dead_letter(scene: Scene, browser: Browser) -> None:
    visitor = Visitor.of(browser, scene.address)
    page = visitor.page
    comes_in(scene, visitor)
    go(page, "Settings")
    checks_and_saves(scene, visitor)
    switch(page, on=True)
    go(page, "Status")
    sees_events_arrive(scene, visitor)
    go(page, "Status")
    switches_off_and_on(scene, page)
    retries_a_dead_letter(scene, visitor)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Admin token")).to_be_visible()
    assert visitor.said == []


def comes_in(scene: Scene, visitor: Visitor) -> None:
    log_in(visitor.page, "not the token")
    expect(visitor.page.get_by_role("alert")).to_contain_text("not the admin token")
    visitor.look("login")
    visitor.said.clear()  # the refusal, which the browser calls an error
    log_in(visitor.page, scene.token)
    expect(headline(visitor.page)).to_have_text("Switched off")


def checks_and_saves(scene: Scene, visitor: Visitor) -> None:
    page, steps = visitor.page, visitor.page.locator(".steps li")
    fill_in(page)
    page.get_by_role("button", name="Check connection").click()
    expect(steps).to_contain_text(["Settings", "Logs API", "AWS identity", "Event bus"])
    expect(page.locator(".steps li.is-wrong")).to_have_count(0)
    page.get_by_role("button", name="Send a test event").click()
    expect(steps).to_contain_text(["EventId"])
    (test,) = scene.bus.delivered
    assert test.event_id in steps.inner_text()
    assert test.entry["DetailType"] == "Forwarder Test"
    assert "not-chosen-yet" in scene.home.file.read_text()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    expect(page.locator("[id='hint-aws-access-key-id']")).to_contain_text(f"ends with {KEY.id[-4:]}")
    for secret in (KEY.id, KEY.secret, API_KEY):
        assert secret not in page.content()
    visitor.look("settings")


def sees_events_arrive(scene: Scene, visitor: Visitor) -> None:
    page = visitor.page
    expect(headline(page)).to_have_text("All is well")
    fail(scene.alloy, "first", "second", workflow="sync-orders", outcome="failed-error-object", ago=1)
    expect(arrived(page)).to_have_count(2)
    expect(arrived(page).first.locator(".state")).to_have_text("sent")
    arrived(page).first.get_by_role("link").click()
    expect(page.get_by_text("Failing block")).to_be_visible()
    shown = json.loads(page.locator("pre.detail").inner_text())
    (event,) = [each for each in scene.bus.delivered if each.detail.get("executionId") == shown["executionId"]]
    assert shown == event.detail
    exactly = page.get_by_role("link", name="byte for byte").get_attribute("href")
    assert page.request.get(exactly or "").text() == event.entry["Detail"]
    visitor.look("event")


def switches_off_and_on(scene: Scene, page: Page) -> None:
    switch(page, on=False)
    expect(headline(page)).to_have_text("Switched off")
    scene.daemon.logs("switched off", within=PATIENCE)
    asked = polls(scene.alloy, "sync-orders")
    fail(scene.alloy, "while-off", workflow="sync-orders", outcome="failed-error-object", ago=1)
    assert never(lambda: polls(scene.alloy, "sync-orders") > asked + 1 or "while-off" in scene.known(), within=1)
    switch(page, on=True)
    expect(arrived(page)).to_have_count(3)
    assert eventually(lambda: scene.known() == ["first", "second", "while-off"], within=PATIENCE)


def retries_a_dead_letter(scene: Scene, visitor: Visitor) -> None:
    page = visitor.page
    scene.bus.next(entry_codes({0: "MalformedDetail"}))
    fail(scene.alloy, "refused", workflow="sync-orders", outcome="failed-error-object", ago=1)
    letters = page.get_by_role("region", name="Dead letters")
    expect(letters.get_by_text("MalformedDetail")).to_be_visible()
    expect(page.locator(".numbers .alarm")).to_contain_text("Dead letters")
    visitor.look("status")
    letters.get_by_role("button", name="Retry refused").click()
    expect(letters.get_by_text("None: the bus has accepted everything it was given.")).to_be_visible()
    assert eventually(lambda: "refused" in scene.known(), within=PATIENCE)
    page.goto("/")
    expect(page.get_by_text("Every failure that was found has been sent")).to_be_visible()
    visitor.picture("page")


def test_all_of_it_works_without_scripts(scene: Scene, browser: Browser) -> None:
    page = Visitor.of(browser, scene.address, scripts=False).page
    log_in(page, scene.token)
    expect(page.get_by_role("img", name=re.compile("Last hour: .* failures found"))).to_be_visible()
    page.get_by_text("As a table").first.click()
    expect(page.get_by_role("columnheader", name="Found").first).to_be_visible()
    go(page, "Settings")
    fill_in(page)
    page.get_by_label("Region").fill("Mars")
    page.get_by_role("button", name="Save").click()
    region = page.get_by_label("Region")
    expect(region).to_have_attribute("aria-invalid", "true")
    expect(region).to_have_value("Mars")
    expect(region).to_have_accessible_description(re.compile("Is not an AWS region"))
    fill_in(page)
    page.get_by_role("button", name="Check connection").click()
    expect(page.locator(".steps li")).to_have_count(4)
    expect(page.locator(".steps li.is-wrong")).to_have_count(0)
    fill_in(page)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    switch(page, on=True)
    fail(scene.alloy, "first", workflow="sync-orders", outcome="failed-error-object", ago=1)
    scene.daemon.until(lambda: scene.known() == ["first"], within=PATIENCE)
    go(page, "Status")
    expect(arrived(page)).to_have_count(1)
