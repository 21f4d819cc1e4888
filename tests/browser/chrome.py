"""A real browser, and the checks of each page in two widths and two colour schemes."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

ROOT: Final = Path(__file__).parents[2]
SCREENSHOTS: Final = ROOT / "build" / "screenshots"
AXE: Final = ROOT / "build" / "node" / "node_modules" / "axe-core" / "axe.min.js"
NAMES: Final = ("chromium", "chromium-browser", "google-chrome")

WIDTHS: Final = (360, 1280)
HEIGHT: Final = 900
MAX_WAIT_MILLISECONDS: Final = 60_000.0
"""The longest wait, in milliseconds, for a change on a page on a busy machine."""

OPTIONS: Final = (
    # Chromium's own sandbox does not work as root and in most containers.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def find_browser() -> str | None:
    """Return the path of the browser, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def missing_requirement() -> str:
    """Return a message about the missing program that browser tests need, or an empty string."""
    if find_browser() is None:
        return "there is no Chromium here: `make browser` installs it"
    return "" if AXE.exists() else "there is no axe-core in build/: `make browser` installs it"


@contextmanager
def chrome() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class BrowserPage:
    """A page in a browser. `console_errors` are the errors that the browser reported."""

    page: Page
    console_errors: list[str]

    @classmethod
    def of(cls, browser: Browser, address: str, *, scripts: bool = True) -> "BrowserPage":
        context = browser.new_context(base_url=address, java_script_enabled=scripts, timezone_id="UTC", locale="en-GB")
        context.set_default_timeout(MAX_WAIT_MILLISECONDS)
        page = context.new_page()
        browser_page = cls(page, [])
        page.on("pageerror", lambda error: browser_page.console_errors.append(str(error)))
        page.on(
            "console",
            lambda message: browser_page.console_errors.append(message.text) if message.type == "error" else None,
        )
        return browser_page

    def check_layout(self, name: str) -> None:
        """Check that nothing overflows and that axe-core finds nothing; keep screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page = self.page
        for scheme in ("light", "dark"):
            for width in WIDTHS:
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": width, "height": HEIGHT})
                page.screenshot(
                    path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True, animations="disabled"
                )
                assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than {width}"
                assert self._violations() == [], f"{name}, {scheme}, {width} wide"

    def screenshot(self, name: str) -> None:
        """Save a screenshot for the README."""
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size({"width": 1200, "height": 1000})
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")

    def _violations(self) -> list[Any]:
        """Return the serious and critical violations that axe-core finds.

        Playwright evaluates the script outside the page's content security policy.
        """
        result = self.page.evaluate(f"async () => {{ {AXE.read_text()}; return await axe.run(); }}")
        return [
            (violation["id"], [node["html"] for node in violation["nodes"]])
            for violation in result["violations"]
            if violation["impact"] in ("serious", "critical")
        ]
