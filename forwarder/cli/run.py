"""The command `forwarder run`."""

import asyncio
import signal
import sys
from typing import Annotated

import typer

from forwarder.cli.output import echo
from forwarder.clock import SystemClock


def run(
    context: typer.Context,
    *,
    setup: Annotated[
        bool,
        typer.Option(
            "--setup",
            help="Create files that are missing, and let incomplete settings be completed in the browser.",
        ),
    ] = False,
) -> None:
    """Run the daemon: poll, record and publish until SIGTERM or Ctrl-C. SIGHUP reloads the settings.

    At a terminal, --setup prints a link for the first start. With complete settings it changes nothing.

    Example: forwarder run --setup
    """
    # Until the daemon listens to signals itself there is nothing to drain.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from forwarder.daemon import run as run_daemon  # noqa: PLC0415  # the AWS SDK takes a while to load, and few commands need it

    # A pipe or a file may be kept and read by others. A terminal is read by the person who started this.
    show_setup_link = _show_setup_link if setup and sys.stdout.isatty() else None
    raise typer.Exit(asyncio.run(run_daemon(context.obj, SystemClock(), setup=setup, show_setup_link=show_setup_link)))


def _show_setup_link(link: str) -> None:
    introduction = "To set up, open this link in a browser on this machine. It works once, within 10 minutes:"
    for line in ("", introduction, "", f"  {link}", ""):
        echo(line)
