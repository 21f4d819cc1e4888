"""The command `forwarder run`."""

import asyncio
import signal
import sys

import typer

from forwarder.clock import SystemClock


def run(context: typer.Context) -> None:
    """Run the daemon: poll, record and publish until SIGTERM or Ctrl-C. SIGHUP reloads the settings.

    Example: forwarder -c /etc/forwarder/forwarder.toml run
    """
    # Until the daemon listens to signals itself there is nothing to drain.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from forwarder.daemon import run as run_daemon  # noqa: PLC0415  # the AWS SDK takes a while to load, and few commands need it

    raise typer.Exit(asyncio.run(run_daemon(context.obj, SystemClock())))
