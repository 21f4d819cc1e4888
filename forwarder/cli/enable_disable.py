"""The commands `forwarder enable` and `forwarder disable`."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer

from forwarder.cli.output import echo
from forwarder.ledger import open_ledger
from forwarder.settings import ConfigSource, LocalSettings, load_local
from forwarder.settings.edit import set_value

FleetOption = Annotated[
    bool, typer.Option("--fleet", help="Switch all processes on a shared ledger. The settings file stays as it is.")
]


def enable(context: typer.Context, *, fleet: FleetOption = False) -> None:
    """Enable forwarding: write `enabled = true` into the settings file, and change nothing else in it.

    With --fleet, the switch in the ledger is set instead. `on_enable` in the settings file decides whether the
    failures since it was switched off are sent or skipped. A process whose own file has `enabled = false` stays off.

    Example: forwarder enable --fleet
    """
    _set_enabled(context.obj, on=True, fleet=fleet)


def disable(context: typer.Context, *, fleet: FleetOption = False) -> None:
    """Disable forwarding: write `enabled = false` into the settings file.

    A running daemon stops polling and publishing within a second, with --fleet all within a few heartbeats. Pending
    events stay pending.

    Example: forwarder disable
    """
    _set_enabled(context.obj, on=False, fleet=fleet)


def _set_enabled(config_source: ConfigSource, *, on: bool, fleet: bool) -> None:
    if fleet:
        settings = load_local(config_source)
        changed, scope = asyncio.run(_switch_fleet(config_source, settings, on=on)), " for all processes"
    else:
        changed, scope = set_value(config_source, "enabled", on), ""
    word = "on" if on else "off"
    echo(f"switched {word}{scope}" if changed else f"it is {word} already{scope}")
    if fleet and on and changed:
        failures = {"skip": "are skipped", "catch_up": "are sent"}[settings.on_enable]
        echo(f'failures since it was switched off {failures}: on_enable = "{settings.on_enable}" in the settings here')
    if fleet and on and not settings.enabled:
        echo("this process stays off: its settings file has `enabled = false` (`forwarder enable`)", err=True)


async def _switch_fleet(config_source: ConfigSource, settings: LocalSettings, *, on: bool) -> bool:
    """Save the switch of all processes. Return whether it changed. A switch that was never saved is on."""
    async with open_ledger(config_source, settings) as ledger:
        before = await ledger.save_fleet_switch(
            enabled=on, skip=settings.on_enable == "skip", now=datetime.now(UTC)
        )  # fmt: skip
    return (before is not False) is not on
