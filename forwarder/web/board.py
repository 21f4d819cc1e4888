"""The status page's sections, made once a second at most, for however many readers."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from aiohttp import web

from forwarder.errors import LedgerError
from forwarder.settings.load import overridden
from forwarder.web.desk import Desk
from forwarder.web.pages import Pages
from forwarder.web.standing import NAMES, Standing, blank, look

FRESH = 1.0
"""Seconds for which a look at the ledger counts."""

SECTIONS = ("headline", "switch", "parts", "numbers", "plots", "dead", "events", "feeds")
"""Templates in `status/`. None of them knows whose session it is shown in."""


class Board:
    def __init__(self, desk: Desk, pages: Pages) -> None:
        self._desk = desk
        self._pages = pages
        self._looking = asyncio.Lock()
        self._looked_at: float | None = None
        self._standing: Standing | None = None
        self._sections: dict[str, str] = {}

    async def standing(self) -> Standing:
        await self._refresh()
        if self._standing is None:
            raise RuntimeError("a board that was refreshed has a standing")
        return self._standing

    async def sections(self) -> Mapping[str, str]:
        """HTML by name. What did not change since the last call is the same object."""
        await self._refresh()
        return self._sections

    def forget(self) -> None:
        """Something was changed from a page, which is to show it at once."""
        self._looked_at = None

    async def _refresh(self) -> None:
        async with self._looking:
            now = self._desk.clock.monotonic()
            if self._looked_at is not None and now - self._looked_at < FRESH:
                return
            self._standing = await self._look()
            variable = overridden(self._desk.place, "enabled")
            for name in SECTIONS:
                html = self._pages.render(
                    f"status/{name}.html", standing=self._standing, names=NAMES, variable=variable
                )
                if html != self._sections.get(name):
                    self._sections = {**self._sections, name: html}
            self._looked_at = now

    async def _look(self) -> Standing:
        """A ledger that cannot be read leaves what it told last."""
        desk, now = self._desk, self._desk.clock.now()
        try:
            return await look(desk, now)
        except LedgerError:
            settings, parts = desk.settings(), desk.health.parts
            return replace(self._standing or blank(settings, now), at=now, settings=settings, parts=parts)


BOARD = web.AppKey("board", Board)
