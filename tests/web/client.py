"""A running web UI with a vault of sealed secrets, and an HTTP client of it."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientResponse, ClientSession, CookieJar, TCPConnector
from aiohttp.web import AbstractRouteDef, RouteDef

from forwarder.app import App
from forwarder.aws.responses import CODES
from forwarder.configuration import RuntimeConfig
from forwarder.delivery.settlement import SettlementWriter
from forwarder.health import Health, NextAttempt
from forwarder.heartbeat import Heartbeats
from forwarder.ledger import SqliteLedger
from forwarder.metrics import Metrics
from forwarder.model import State
from forwarder.settings import ConfigSource, Settings
from forwarder.vault import WEB_TOKEN
from forwarder.web import server
from forwarder.web.connection import Timeouts
from forwarder.web.context import WebContext
from forwarder.web.middleware import BACKGROUND_ROUTES, PUBLIC_ROUTES, SAFE_METHODS
from forwarder.web.server import DEFAULT_TIMEOUTS, ServerAddresses, run_web_server
from forwarder.web.tokens import issue_token
from tests.factories import some_settings
from tests.vault.vault_folder import filled_vault_folder
from tests.virtual_clock import NOON, QuickClock

WEBHOOK_PATH = "/hooks/alloy/"


@dataclass(frozen=True)
class Route:
    """A route, with a value in place of each variable of its path."""

    method: str
    path: str
    name: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_public(self) -> bool:
        return self.name in PUBLIC_ROUTES

    @classmethod
    def of(cls, route: AbstractRouteDef) -> "Route":
        assert isinstance(route, RouteDef)
        return cls(route.method, re.sub(r"\{[^}]*\}", "some", route.path), route.kwargs["name"])


ROUTES = [Route.of(each) for each in server.ROUTES]
CHANGES = [route for route in ROUTES if route.method not in SAFE_METHODS]
CLOSED_PAGES = [
    route
    for route in ROUTES
    if route.method in SAFE_METHODS and not route.is_public and route.name not in BACKGROUND_ROUTES
]
VIEWS = [route for route in ROUTES if route.method in SAFE_METHODS]


class StillClock(QuickClock):
    """A clock whose time changes only through `advance`, also while a stream waits."""

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), min(seconds, 0.02))
        return event.is_set()


@dataclass
class WebClient:
    """A browser session: it keeps cookies, and sends the origin with each change.

    `attempts` are the next attempts that the page shows, and `retried` the components that were to be tried again.
    `first_event` is the first event of a stream. The rest of a stream is not read.
    """

    browser: ClientSession
    addresses: ServerAddresses
    context: WebContext
    clock: StillClock
    token: str = ""
    triggered: list[tuple[str, str | None]] = field(default_factory=list)
    attempts: dict[str, NextAttempt] = field(default_factory=dict)
    retried: list[str] = field(default_factory=list)
    setup_link: str = ""
    first_event: str = ""

    async def get(self, path: str, **options: Any) -> ClientResponse:
        return await self._read(await self.browser.get(path, allow_redirects=False, **options))

    async def change(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "POST", **options: Any
    ) -> ClientResponse:
        """Send a request as a form of the web UI does, with other headers if given."""
        sent = {"Origin": self.addresses.web_ui} | dict(headers or {})
        response = await self.browser.request(method, path, headers=sent, allow_redirects=False, **options)
        return await self._read(response)

    async def _read(self, response: ClientResponse) -> ClientResponse:
        """Read a response to its end: an open one would cause a warning when it is collected."""
        if response.content_type == "text/event-stream":
            self.first_event = (await response.content.readuntil(b"\n\n")).decode()
            response.close()
        else:
            await response.read()
        return response

    @property
    def cookies(self) -> dict[str, str]:
        return {cookie.key: cookie.value for cookie in self.browser.cookie_jar}

    @property
    def cookie_name(self) -> str:
        """Return the name of the session cookie of a server without TLS."""
        return f"forwarder-{urlsplit(self.addresses.web_ui).port}"

    async def log_in(self, token: str | None = None) -> ClientResponse:
        return await self.change("/login", data={"token": self.token if token is None else token})

    async def is_logged_in(self) -> bool:
        return (await self.get("/")).status == 200


@asynccontextmanager
async def web_client(
    folder: Path,
    *,
    has_token: bool = True,
    is_first_start: bool = False,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    source: Mapping[str, Any] | None = None,
    **web: Any,
) -> AsyncIterator[WebClient]:
    """Serve the web UI, on a free port unless `web` sets an address.

    In a first start the settings are incomplete, and `setup_link` is the path of the link that was shown, if any was.
    """
    home = filled_vault_folder(folder)
    settings = some_settings(web={"listen": "127.0.0.1:0", **web}, source=dict(source or {}))
    token = issue_token(home.config_source, settings, WEB_TOKEN, NOON) if has_token else ""
    async with SqliteLedger(folder / "forwarder.db", create=True) as ledger:
        context, clock, triggered = create_context(home.config_source, ledger, settings)
        if is_first_start:
            for component in ("settings", "source", "bus"):
                context.health.report(component, State.UNCONFIGURED, "incomplete")
        links: list[str] = []
        attempts: dict[str, NextAttempt] = {}
        retried: list[str] = []

        def retry_now(component: str) -> bool:
            retried.append(component)
            return component in attempts

        context = replace(context, next_attempts=lambda: attempts, retry_now=retry_now)
        async with (
            run_web_server(context, timeouts, show_setup_link=links.append) as addresses,
            browser(addresses.web_ui or addresses.health or None) as session,
        ):
            link = "".join(links).removeprefix(addresses.web_ui)
            yield WebClient(session, addresses, context, clock, token, triggered, attempts, retried, link)


def create_context(
    config_source: ConfigSource, ledger: SqliteLedger, settings: Settings
) -> tuple[WebContext, StillClock, list[tuple[str, str | None]]]:
    """Return a healthy context in which only the workflow `w` is watched, its clock, and the triggers received."""
    clock = StillClock()
    health = Health(clock.now)
    for component in ("settings", "source", "bus", "ledger"):
        health.healthy(component)
    triggered: list[tuple[str, str | None]] = []

    def trigger(workflow_id: str, user_id: str | None) -> int:
        triggered.append((workflow_id, user_id))
        return 1 if workflow_id == "w" else 0

    settlement_writer = SettlementWriter(ledger, clock, health)
    heartbeats, metrics = Heartbeats(), Metrics(CODES)
    config = RuntimeConfig(settings)
    app = App(config_source, ledger, clock, health, heartbeats, metrics, settlement_writer, config)
    context = WebContext(
        config_source,
        clock,
        ledger,
        health,
        heartbeats,
        metrics,
        settings=lambda: settings,
        polls=dict,
        trigger=trigger,
        next_attempts=dict,
        retry_now=lambda _: False,
        rerun=app.rerun,
        stopping=asyncio.Event(),
    )
    return context, clock, triggered


def browser(address: str | None) -> ClientSession:
    """Return a session that trusts every certificate, and keeps cookies of an IP address."""
    return ClientSession(address, cookie_jar=CookieJar(unsafe=True), connector=TCPConnector(ssl=False))
