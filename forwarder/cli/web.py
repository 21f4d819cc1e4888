"""The commands `forwarder web create-token | create-webhook`."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

import typer

from forwarder.cli.output import echo
from forwarder.errors import SettingsError, UsageError
from forwarder.settings import ConfigSource, load_local
from forwarder.settings.load import load_listeners
from forwarder.settings.local_sections import WebSettings
from forwarder.settings.validators.common import is_loopback
from forwarder.vault import WEB_TOKEN, WEBHOOK_TOKEN
from forwarder.web.tokens import issue_token

app = typer.Typer(name="web", no_args_is_help=True, help="Access to the web UI.\n\nExample: forwarder web create-token")


@app.command()
def create_token(context: typer.Context) -> None:
    """Create the admin token, and print it once. The previous token is void, and its sessions end.

    Example: forwarder web create-token
    """
    config_source: ConfigSource = context.obj
    address = _address(config_source)
    echo(issue_token(config_source, load_local(config_source), WEB_TOKEN, datetime.now(UTC)))
    echo(f"the token to log in with at {address}; it is not shown again", err=True)


@app.command()
def create_webhook(context: typer.Context) -> None:
    """Create the webhook address for Alloy's real-time errors, and print it once. The previous address is void.

    Example: forwarder web create-webhook
    """
    config_source: ConfigSource = context.obj
    address = _address(config_source)
    secret = issue_token(config_source, load_local(config_source), WEBHOOK_TOKEN, datetime.now(UTC))
    echo(f"{address}/hooks/alloy/{secret}")
    echo("enter it in Alloy, under Settings > Logging; it is not shown again", err=True)
    if is_loopback(urlsplit(address).hostname or ""):
        echo(
            "warning: Alloy cannot reach this address, which is of this machine: serve it through a proxy with TLS,"
            " and set [web] public_url",
            err=True,
        )


def _address(config_source: ConfigSource) -> str:
    """Return the URL of the web UI, or the default URL if its settings are invalid.

    Raise UsageError if the web UI is switched off.
    """
    try:
        web = load_listeners(config_source).web
    except SettingsError:
        web = WebSettings()
    if not web.listen:
        raise UsageError("web.listen is empty: there is no web UI", hint="set it, e.g. to 127.0.0.1:8787")
    return web.public_url or f"{'https' if web.tls_cert else 'http'}://{web.listen}"
