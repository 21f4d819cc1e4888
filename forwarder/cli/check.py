"""`forwarder check`"""

import asyncio
from typing import Any

import typer

from forwarder.cli.output import AsJson, print_json, printable
from forwarder.clock import SystemClock
from forwarder.settings import Place


def check(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Try every part once: settings, vault, logs API, AWS identity, event bus, books.

    Example: forwarder check
    """
    raise typer.Exit(asyncio.run(_check(context.obj, as_json=as_json)))


async def _check(place: Place, *, as_json: bool) -> int:
    from forwarder.check import steps  # noqa: PLC0415  # the AWS SDK takes a while to load, and few verbs need it

    worst = 0
    told: list[dict[str, Any]] = []
    async for step in steps(place, SystemClock()):
        error = step.error
        worst = max(worst, error.exit_code if error else 0)
        told.append(
            {
                "name": step.name,
                "ok": error is None,
                "said": error.message if error else step.said,
                "mend": error.hint if error else "",
            }
        )
        if not as_json:
            typer.echo(f"{'✗' if error else '✓'} {step.name}: {printable(told[-1]['said'])}")
            if told[-1]["mend"]:
                typer.echo(f"  mend: {printable(told[-1]['mend'])}")
    if as_json:
        print_json(told)
    return worst
