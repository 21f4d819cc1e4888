"""The commands `forwarder keys set | show | remove | rotate`."""

import codecs
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from forwarder.cli.output import JsonOption, echo, format_time, print_json, print_table
from forwarder.errors import UsageError
from forwarder.settings import ConfigSource, load_local, pasted
from forwarder.vault import AWS_SESSION_TOKEN, NAMES, Vault, locked_vault
from forwarder.vault.rotate import rotate
from forwarder.vault.secret_values import reject_own_token, secret_hint, validate_secret

MAX_PIPED_BYTES = 64 * 1024

app = typer.Typer(name="keys", no_args_is_help=True, help="The sealed secrets.\n\nExample: forwarder keys show")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help=f"One of {', '.join(NAMES)}.", autocompletion=lambda: list(NAMES))
]


@app.command("set", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def set_(context: typer.Context, name: Name) -> None:
    """Seal a secret that is typed at a hidden prompt or piped in. Other users could see an argument.

    Example: forwarder keys set alloy-api-key < key.txt
    """
    if context.args or "=" in name:
        raise UsageError(
            "a secret is not taken from the command line: other processes and the shell's history can see it",
            hint="replace that secret if it is a real one; then type it at the prompt, or pipe it in:"
            " `forwarder keys set NAME < FILE`",
        )
    _require_name(name)
    value = pasted.trim(typer.prompt(name, hide_input=True) if sys.stdin.isatty() else _read_piped())
    validate_secret(name, value)
    config_source: ConfigSource = context.obj
    settings = load_local(config_source)
    with locked_vault(config_source, settings):
        vault = Vault.open(config_source, settings)
        reject_own_token(name, value, vault.digests())
        vault.set(name, value, datetime.now(UTC))
    echo(f"{name} is set")
    if hint := secret_hint(name, value, has_token=vault.set_at(AWS_SESSION_TOKEN) is not None):
        echo(f"note: {hint}", err=True)


@app.command()
def show(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """Show which secrets are set, when, and their last four characters.

    Example: forwarder keys show --json
    """
    config_source: ConfigSource = context.obj
    vault = Vault.open(config_source, load_local(config_source))
    rows = [(name, vault.set_at(name), vault.suffix(name)) for name in NAMES]
    if as_json:
        print_json(
            [
                {"name": name, "set": set_at is not None, "set_at": set_at, "ends_with": suffix or None}
                for name, set_at, suffix in rows
            ]
        )
        return
    print_table(
        ("name", "value", "set at"),
        [(name, f"…{suffix}" if set_at else "not set", format_time(set_at)) for name, set_at, suffix in rows],
    )


@app.command()
def remove(context: typer.Context, name: Name) -> None:
    """Remove a secret.

    Example: forwarder keys remove aws-session-token
    """
    _require_name(name)
    config_source: ConfigSource = context.obj
    settings = load_local(config_source)
    with locked_vault(config_source, settings):
        removed = Vault.open(config_source, settings).remove(name)
    echo(f"{name} is removed" if removed else f"{name} was not set")


@app.command("rotate")
def rotate_(context: typer.Context) -> None:
    """Create a new master key, and seal every secret under it. After a crash, the vault can still be opened.

    Example: forwarder keys rotate
    """
    config_source: ConfigSource = context.obj
    settings = load_local(config_source)
    with locked_vault(config_source, settings):
        key = rotate(config_source, settings)
    echo(f"sealed under the new master key {key.id}; keep a copy of it in a safe place")


def _require_name(name: str) -> None:
    """Raise UsageError if no secret has this name. The error does not repeat the name, which may be a secret."""
    if name not in NAMES:
        raise UsageError("there is no secret of that name", hint=f"there are {', '.join(NAMES)}")


def _read_piped() -> str:
    """Return the first MAX_PIPED_BYTES of standard input, decoded as UTF-8, or as UTF-16 with a byte-order mark.

    Windows shells write UTF-16. The text is an invalid secret if it cannot be decoded.
    """
    content = sys.stdin.buffer.read(MAX_PIPED_BYTES)
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return "\0"  # which `validate_secret` refuses, without showing anything
