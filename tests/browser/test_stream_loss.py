"""The status page in a real browser, while the packets of its stream vanish, and while nobody sees it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chrome import MAX_WAIT_MILLISECONDS, BrowserPage, chrome
from tests.browser.silent_proxy import SilentProxy
from tests.e2e.harness import fail
from tests.fakes.alloy import FakeAlloy
from tests.fakes.bus_faults import entry_codes
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation
from tests.harness.ports import free_port
from tests.harness.process import eventually

pytestmark = pytest.mark.browser

STREAM, SECTIONS = b"GET /status/stream", b"GET /status/sections"
REJECTED = "1 event was rejected by the bus"


class ProxiedSystem:
    """A daemon, and a browser that has logged in through a proxy."""

    def __init__(self, page: Page, proxy: SilentProxy, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
        self.page, self.proxy, self._alloy, self._bus = page, proxy, alloy, bus
        self.headline = page.get_by_role("heading", level=1)

    def set_hidden(self, hidden: bool) -> None:
        """Hide or show the page. A page of Playwright is always visible."""
        script = "value => { Object.defineProperty(document, 'hidden', { value, configurable: true });"
        self.page.evaluate(f"{script} document.dispatchEvent(new Event('visibilitychange')); }}", hidden)

    def reject_event(self) -> None:
        """Change the headline of a page that receives updates."""
        self._bus.next(entry_codes({0: "MalformedDetail"}))
        fail(self._alloy, "refused", ago=1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chrome() as browser:
        yield browser


@pytest.fixture
def system(tmp_path: Path, browser: Browser) -> Iterator[ProxiedSystem]:
    port = free_port()
    with FakeAlloy() as alloy, StrictEventBridge() as bus, SilentProxy(("127.0.0.1", port)) as proxy:
        alloy.api.add_workflow("w")
        address, listen = f"http://127.0.0.1:{proxy.port}", f"127.0.0.1:{port}"
        web = {"listen": listen, "public_url": address}
        installation = Installation(tmp_path, alloy=alloy.url, bus=bus.url, web=web)
        installation.create_vault()
        token = installation.run_command("web", "create-token").out.strip()
        with installation.start() as daemon:
            daemon.wait_for_log('"web UI listening"')
            page = BrowserPage.of(browser, address).page
            page.goto("/")
            page.get_by_label("Admin token").fill(token)
            page.get_by_role("button", name="Log in").click()
            system = ProxiedSystem(page, proxy, alloy, bus)
            expect(system.headline).to_have_text("All is well", timeout=MAX_WAIT_MILLISECONDS)
            yield system
            page.context.close()
            daemon.kill()


def test_silent_stream_is_opened_again(system: ProxiedSystem) -> None:
    """Other requests work, so that the loss of the stream alone must be noticed."""
    assert eventually(lambda: system.proxy.silence(STREAM) == 1, within=20)
    system.reject_event()
    expect(system.headline).to_have_text(REJECTED, timeout=MAX_WAIT_MILLISECONDS)
    expect(system.page.get_by_role("alert")).to_be_hidden()


def test_page_without_any_stream_shows_lost_contact(system: ProxiedSystem) -> None:
    """Each new stream is silent as well, and each request for the sections.

    A page that is not updated must not pass for a current one.
    """
    system.proxy.silenced = [STREAM, SECTIONS]
    assert eventually(lambda: system.proxy.silence(STREAM) == 1, within=20)
    expect(system.page.get_by_role("alert")).to_contain_text("No contact since", timeout=MAX_WAIT_MILLISECONDS)
    system.proxy.silenced = []
    expect(system.page.get_by_role("alert")).to_be_hidden(timeout=MAX_WAIT_MILLISECONDS)
    system.reject_event()
    expect(system.headline).to_have_text(REJECTED, timeout=MAX_WAIT_MILLISECONDS)


def test_page_whose_streams_are_held_back_is_updated(system: ProxiedSystem) -> None:
    """A buffering proxy passes on whole responses only. The sections are requested without a stream."""
    system.proxy.silenced = [STREAM]
    assert eventually(lambda: system.proxy.silence(STREAM) == 1, within=20)
    system.reject_event()
    expect(system.headline).to_have_text(REJECTED, timeout=MAX_WAIT_MILLISECONDS)
    system.page.wait_for_timeout(25_000)  # longer than any silence that counts as lost contact
    assert system.page.get_by_role("alert").count() == 0
    assert system.page.locator("body.no-contact").count() == 0
    assert system.proxy.count(STREAM) <= 1


def test_page_from_the_back_forward_cache_is_updated(system: ProxiedSystem) -> None:
    system.page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    system.reject_event()
    system.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    expect(system.headline).to_have_text(REJECTED, timeout=MAX_WAIT_MILLISECONDS)


def test_hidden_page_has_no_stream_and_becomes_current(system: ProxiedSystem) -> None:
    """A browser opens six connections to a host: six streams of hidden pages would block all other requests."""
    assert eventually(lambda: system.proxy.count(STREAM) == 1, within=20)
    system.set_hidden(True)
    assert eventually(lambda: system.proxy.count(STREAM) == 0, within=20)
    system.reject_event()
    system.page.wait_for_timeout(25_000)  # longer than any silence of a visible page
    expect(system.page).to_have_title(f"{REJECTED} · forwarder", timeout=MAX_WAIT_MILLISECONDS)
    assert system.proxy.count(STREAM) == 0
    notice = system.page.get_by_role("alert")
    assert notice.count() == 0
    system.set_hidden(False)
    expect(system.headline).to_have_text(REJECTED, timeout=2000)
    expect(system.page).to_have_title(f"{REJECTED} · forwarder")
    assert notice.count() == 0


def test_page_that_is_loaded_hidden_has_no_stream(system: ProxiedSystem) -> None:
    hidden = system.page.context.new_page()
    hidden.add_init_script("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    hidden.goto("/")
    hidden.wait_for_timeout(3000)
    assert system.proxy.count(STREAM) == 1
