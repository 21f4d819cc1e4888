"""What the verbs that ask the logs API share."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import typer

from forwarder.clock import SystemClock
from forwarder.errors import VaultError
from forwarder.settings import Place, Settings, load
from forwarder.vault import ALLOY_API_KEY, Vault

if TYPE_CHECKING:
    from forwarder.alloy.client import LogsClient

T = TypeVar("T")


def ask(context: typer.Context, question: Callable[["LogsClient", Settings], Awaitable[T]]) -> T:
    """Raises SettingsError, VaultError, SourceError."""
    from forwarder.alloy.client import LogsClient  # noqa: PLC0415  # httpx takes a while to load, and few verbs need it

    place: Place = context.obj
    settings = load(place)
    key = Vault.open(place, settings).reveal(ALLOY_API_KEY)
    if key is None:
        raise VaultError(f"the vault holds no {ALLOY_API_KEY}", hint=f"`forwarder keys set {ALLOY_API_KEY}`")

    async def open_and_ask() -> T:
        async with LogsClient(settings.source, key, SystemClock()) as client:
            return await question(client, settings)

    return asyncio.run(open_and_ask())
