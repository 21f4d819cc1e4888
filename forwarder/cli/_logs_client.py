"""The function with which the commands `logs` and `rerun` call the logs API."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import typer

from forwarder.clock import SystemClock
from forwarder.settings import ConfigSource
from forwarder.settings.load import load_alloy
from forwarder.settings.models import AlloySettings
from forwarder.vault import ALLOY_API_KEY, Vault

if TYPE_CHECKING:
    from forwarder.alloy.client import LogsClient

T = TypeVar("T")


def call_logs_api(context: typer.Context, call: Callable[["LogsClient", AlloySettings], Awaitable[T]]) -> T:
    """Open a client of the logs API, and return the result of `call` with the client and the settings.

    Raise SettingsError, VaultError or SourceError.
    """
    from forwarder.alloy.client import LogsClient  # noqa: PLC0415  # httpx takes a while to load, and few commands need it

    config_source: ConfigSource = context.obj
    settings = load_alloy(config_source)
    key = Vault.open(config_source, settings).require(ALLOY_API_KEY)

    async def open_and_call() -> T:
        async with LogsClient(settings.source, key, SystemClock()) as client:
            return await call(client, settings)

    return asyncio.run(open_and_call())
