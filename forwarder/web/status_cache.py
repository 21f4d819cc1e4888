"""A cache of the status page's sections. They are rendered and encoded at most once a second for all readers."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import msgspec
from aiohttp import web

from forwarder.errors import LedgerError
from forwarder.settings.load import overriding_variable
from forwarder.web.context import WebContext
from forwarder.web.rendering import TemplateRenderer
from forwarder.web.status_snapshot import COMPONENT_LABELS, StatusSnapshot

CACHE_SECONDS = 1.0
"""The time for which a snapshot is used."""

SECTIONS = ("headline", "switch", "components", "counters", "plots", "dead", "events", "feeds", "processes")
"""The names of the templates in `status/`. They do not depend on a session."""


class StatusCache:
    """The cache of one web server. A snapshot that is older than CACHE_SECONDS is replaced when it is read."""

    def __init__(self, context: WebContext, renderer: TemplateRenderer) -> None:
        self._context = context
        self._renderer = renderer
        self._lock = asyncio.Lock()
        self._refreshed_at: float | None = None
        self._snapshot: StatusSnapshot | None = None
        self._sections: dict[str, str] = {}
        self._version = 0
        self._changed_in: dict[str, int] = {}
        """The version in which each section changed last."""
        self._encoded: dict[int, bytes] = {}
        """The encoded changes since a version, for the current version."""

    async def snapshot(self) -> StatusSnapshot:
        """Return the current snapshot."""
        await self._refresh()
        if self._snapshot is None:
            raise RuntimeError("a refreshed cache has a snapshot")
        return self._snapshot

    async def sections(self) -> Mapping[str, str]:
        """Return the HTML of each section by name."""
        await self._refresh()
        return self._sections

    async def changes(self, since: int) -> tuple[int, bytes]:
        """Return the current version, and a JSON object with the sections that changed after version `since`.

        The object is empty bytes if none changed. Version 0 is before all sections.
        """
        await self._refresh()
        if since not in self._encoded:
            changed = {name: html for name, html in self._sections.items() if self._changed_in[name] > since}
            self._encoded[since] = msgspec.json.encode(changed) if changed else b""
        return self._version, self._encoded[since]

    def invalidate(self) -> None:
        """Make the next request take a new snapshot, after a change from the web UI."""
        self._refreshed_at = None

    async def _refresh(self) -> None:
        async with self._lock:
            now = self._context.clock.monotonic()
            if self._refreshed_at is not None and now - self._refreshed_at < CACHE_SECONDS:
                return
            self._snapshot = await self._take_snapshot()
            variable = overriding_variable(self._context.config_source, "enabled")
            self._version += 1
            self._encoded.clear()
            for name in SECTIONS:
                html = self._renderer.render(
                    f"status/{name}.html", snapshot=self._snapshot, labels=COMPONENT_LABELS, variable=variable
                )
                if html != self._sections.get(name):
                    self._sections = {**self._sections, name: html}
                    self._changed_in[name] = self._version
            self._refreshed_at = now

    async def _take_snapshot(self) -> StatusSnapshot:
        """Return a new snapshot. If the ledger cannot be read, its values are those of the snapshot before."""
        context, now = self._context, self._context.clock.now()
        try:
            return await StatusSnapshot.take(context, now, self._snapshot)
        except LedgerError:
            settings, components = context.settings(), context.health.components
            return replace(
                self._snapshot or StatusSnapshot.empty(settings, now), at=now, settings=settings, components=components
            )


STATUS_CACHE = web.AppKey("status_cache", StatusCache)
