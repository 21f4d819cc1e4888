"""The page on a socket of its own, before a home with sealed secrets, and somebody who visits it."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse, ClientSession, CookieJar, TCPConnector
from aiohttp.web import AbstractRouteDef, RouteDef

from forwarder.aws.answers import CODES
from forwarder.beats import Beats
from forwarder.health import Health
from forwarder.ledger import SqliteLedger
from forwarder.metrics import Metrics
from forwarder.settings import Place, Settings
from forwarder.vault import WEB_TOKEN
from forwarder.web.connection import Timeouts
from forwarder.web.desk import Desk
from forwarder.web.guard import OPEN, SAFE
from forwarder.web.oldest import OldestOwed
from forwarder.web.pages import FORM_TOKEN
from forwarder.web.server import DEFAULT_TIMEOUTS, ROUTES, Served, serving
from forwarder.web.tokens import renew
from tests.clocks import NOON, QuickClock
from tests.samples import some_settings
from tests.vault.homes import filled

HOOK = "/hooks/alloy/"


@dataclass(frozen=True)
class Door:
    """A route of the page, with something in place of each part of its path that is left open."""

    method: str
    path: str
    name: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_open(self) -> bool:
        return self.name in OPEN

    @classmethod
    def of(cls, route: AbstractRouteDef) -> "Door":
        assert isinstance(route, RouteDef)
        return cls(route.method, re.sub(r"\{[^}]*\}", "some", route.path), route.kwargs["name"])


DOORS = [Door.of(route) for route in ROUTES]
CHANGES = [door for door in DOORS if door.method not in SAFE]
VIEWS = [door for door in DOORS if door.method in SAFE]


class StillClock(QuickClock):
    """Its time moves by `advance` alone, however long a stream waits for it."""

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), min(seconds, 0.02))
        return event.is_set()


@dataclass
class Visit:
    """Somebody with a browser: cookies are kept, and changes say which page they come from.

    Of an answer that never ends the first event is `heard`, and the rest is left.
    """

    browser: ClientSession
    served: Served
    desk: Desk
    clock: StillClock
    token: str = ""
    nudged: list[tuple[str, str | None]] = field(default_factory=list)
    heard: str = ""

    async def get(self, path: str, **options: Any) -> ClientResponse:
        return await self._received(await self.browser.get(path, allow_redirects=False, **options))

    async def change(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "POST", **options: Any
    ) -> ClientResponse:
        """As a form of this page sends it, but for the headers given."""
        sent = {"Origin": self.served.page} | dict(headers or {})
        answer = await self.browser.request(method, path, headers=sent, allow_redirects=False, **options)
        return await self._received(answer)

    async def _received(self, answer: ClientResponse) -> ClientResponse:
        """Read to its end: what is left open would be complained of whenever it is collected."""
        if answer.content_type == "text/event-stream":
            self.heard = (await answer.content.readuntil(b"\n\n")).decode()
            answer.close()
        else:
            await answer.read()
        return answer

    async def log_in(self, token: str | None = None) -> ClientResponse:
        return await self.change("/login", data={"token": self.token if token is None else token})

    async def form_token(self) -> str:
        """Of a page that is loaded for it."""
        text = await (await self.get("/")).text()
        found = re.search(rf'name="{FORM_TOKEN}" value="([^"]+)"', text)
        assert found, text
        return found[1]

    async def is_in(self) -> bool:
        return (await self.get("/")).status == 200


@asynccontextmanager
async def visit(
    folder: Path, *, has_token: bool = True, timeouts: Timeouts = DEFAULT_TIMEOUTS, **web: Any
) -> AsyncIterator[Visit]:
    """A page that listens on any free port, unless told otherwise."""
    home = filled(folder)
    settings = some_settings(web={"listen": "127.0.0.1:0", **web})
    token = renew(home.place, settings, WEB_TOKEN, NOON) if has_token else ""
    async with SqliteLedger(folder / "forwarder.db", create=True) as ledger:
        desk, clock, nudged = a_desk(home.place, ledger, settings)
        async with serving(desk, timeouts) as served, browser(served.page or served.doors or None) as session:
            yield Visit(session, served, desk, clock, token, nudged)


def a_desk(
    place: Place, ledger: SqliteLedger, settings: Settings
) -> tuple[Desk, StillClock, list[tuple[str, str | None]]]:
    """Everything is well, and only the workflow `w` is watched; the nudges that come are kept."""
    clock = StillClock()
    health = Health(clock.now)
    for part in ("settings", "source", "bus", "ledger"):
        health.healthy(part)
    nudged: list[tuple[str, str | None]] = []

    def nudge(workflow_id: str, user_id: str | None) -> int:
        nudged.append((workflow_id, user_id))
        return 1 if workflow_id == "w" else 0

    desk = Desk(
        place,
        clock,
        ledger,
        OldestOwed(ledger, clock),
        health,
        Beats(),
        Metrics(CODES),
        settings=lambda: settings,
        readings=dict,
        nudge=nudge,
        stopping=asyncio.Event(),
    )
    return desk, clock, nudged


def browser(address: str | None) -> ClientSession:
    """One that trusts whoever certified the page, and keeps cookies of an address without a name."""
    return ClientSession(address, cookie_jar=CookieJar(unsafe=True), connector=TCPConnector(ssl=False))
