"""`forwarder web token | hook`"""

from datetime import UTC, datetime

import typer

from forwarder.cli.output import echo
from forwarder.errors import SettingsError, UsageError
from forwarder.settings import Place, load, load_local
from forwarder.settings.fields import WebSettings
from forwarder.vault import HOOK_TOKEN, WEB_TOKEN
from forwarder.web.tokens import renew

app = typer.Typer(name="web", no_args_is_help=True, help="Who may come in to the page.\n\nExample: forwarder web token")


@app.command()
def token(context: typer.Context) -> None:
    """Make the admin token, and show it this once. The one before lets nobody in any more, and its sessions end.

    Example: forwarder web token
    """
    place: Place = context.obj
    address = _address(place)
    echo(renew(place, load_local(place), WEB_TOKEN, datetime.now(UTC)))
    echo(f"the token to log in with at {address}; it is not shown again", err=True)


@app.command()
def hook(context: typer.Context) -> None:
    """Make the address for Alloy's real-time errors, and show it this once. The one before counts no more.

    Example: forwarder web hook
    """
    place: Place = context.obj
    address = _address(place)
    echo(f"{address}/hooks/alloy/{renew(place, load_local(place), HOOK_TOKEN, datetime.now(UTC))}")
    echo("enter it in Alloy, under Settings > Logging; it is not shown again", err=True)


def _address(place: Place) -> str:
    """Of the page; as well as it is known while the settings are not filled in."""
    try:
        web = load(place).web
    except SettingsError:
        web = WebSettings()
    if not web.listen:
        raise UsageError("web.listen is empty: there is no page", hint="set it, e.g. to 127.0.0.1:8787")
    return web.public_url or f"{'https' if web.tls_cert else 'http'}://{web.listen}"
