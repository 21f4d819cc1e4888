"""The commands `forwarder enable` and `forwarder disable`."""

import typer

from forwarder.cli.output import echo
from forwarder.settings.edit import set_value


def enable(context: typer.Context) -> None:
    """Enable forwarding: write `enabled = true` into the settings file, and change nothing else in it.

    Example: forwarder enable
    """
    _set_enabled(context, on=True)


def disable(context: typer.Context) -> None:
    """Disable forwarding: write `enabled = false` into the settings file.

    A running daemon stops polling and publishing within a second. Pending events stay pending.

    Example: forwarder disable
    """
    _set_enabled(context, on=False)


def _set_enabled(context: typer.Context, *, on: bool) -> None:
    changed = set_value(context.obj, "enabled", on)
    word = "on" if on else "off"
    echo(f"switched {word}" if changed else f"it is {word} already")
