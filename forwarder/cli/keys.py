"""`forwarder keys set | show | remove | rotate`"""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from forwarder import files
from forwarder.cli.output import AsJson, print_json, print_table, shown
from forwarder.errors import UsageError
from forwarder.settings import Place, load_local
from forwarder.vault import NAMES, Vault
from forwarder.vault.rotate import rotate
from forwarder.vault.vault import check

app = typer.Typer(name="keys", no_args_is_help=True, help="The sealed secrets.\n\nExample: forwarder keys show")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help=f"One of {', '.join(NAMES)}.", autocompletion=lambda: list(NAMES))
]


@app.command("set")
def set_(context: typer.Context, name: Name) -> None:
    """Seal a secret: typed at a hidden prompt, or piped in. Never an argument, which others could see.

    Example: forwarder keys set alloy-api-key < key.txt
    """
    _require_name(name)
    value = typer.prompt(name, hide_input=True) if sys.stdin.isatty() else _piped()
    check(name, value)
    place: Place = context.obj
    settings = load_local(place)
    with files.locked(place.path(settings.vault.file).resolve().parent):
        Vault.open(place, settings).set(name, value, datetime.now(UTC))
    typer.echo(f"{name} is set")


@app.command()
def show(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Which secrets are set, when, and their last four characters.

    Example: forwarder keys show --json
    """
    place: Place = context.obj
    vault = Vault.open(place, load_local(place))
    rows = [(name, vault.set_at(name), vault.ending(name)) for name in NAMES]
    if as_json:
        print_json(
            [
                {"name": name, "set": set_at is not None, "set_at": set_at, "ends_with": ending or None}
                for name, set_at, ending in rows
            ]
        )
        return
    print_table(
        ("name", "value", "set at"),
        [(name, f"…{ending}" if set_at else "not set", shown(set_at)) for name, set_at, ending in rows],
    )


@app.command()
def remove(context: typer.Context, name: Name) -> None:
    """Remove a secret.

    Example: forwarder keys remove aws-session-token
    """
    _require_name(name)
    place: Place = context.obj
    settings = load_local(place)
    with files.locked(place.path(settings.vault.file).resolve().parent):
        removed = Vault.open(place, settings).remove(name)
    typer.echo(f"{name} is removed" if removed else f"{name} was not set")


@app.command("rotate")
def rotate_(context: typer.Context) -> None:
    """Make a new master key, and seal every secret under it. A crash in between locks nobody out.

    Example: forwarder keys rotate
    """
    place: Place = context.obj
    settings = load_local(place)
    with files.locked(place.path(settings.vault.file).resolve().parent):
        key = rotate(place, settings)
    typer.echo(f"sealed under the new master key {key.id}; keep a copy of it in a safe place")


def _require_name(name: str) -> None:
    if name not in NAMES:
        raise UsageError(f"there is no secret {name!r}", hint=f"there are {', '.join(NAMES)}")


def _piped() -> str:
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError:
        return "\0"  # which `check` refuses, without showing anything
