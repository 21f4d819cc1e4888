"""The command `forwarder demo`."""

from typing import Annotated

import typer
from rich.console import Console


def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Keep running until Ctrl-C, and print the addresses.")] = False,
) -> None:
    """Run a demo on this machine, without an account: a local logs API, an emulated AWS, the real daemon.

    The demo needs the extra `demo` of the package. It exits with 0 only if all numbers agree.

    Example: forwarder demo --keep
    """
    from forwarder.demo.scenario import run_demo  # noqa: PLC0415 - boto3 and a server that no other command needs

    raise typer.Exit(run_demo(Console(), keep=keep))
