"""The command `forwarder check`."""

import asyncio
from typing import Any

import typer

from forwarder.cli.output import JsonOption, echo, print_json
from forwarder.clock import SystemClock
from forwarder.settings import ConfigSource


def check(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """Check every component once: settings, vault, logs API, AWS identity, event bus, counters.

    Example: forwarder check
    """
    raise typer.Exit(asyncio.run(print_checks(context.obj, as_json=as_json)))


async def print_checks(config_source: ConfigSource, *, as_json: bool) -> int:
    """Print the result of each check, and return the worst exit code."""
    from forwarder.diagnostics import run_checks  # noqa: PLC0415  # the AWS SDK takes a while to load, and few commands need it

    worst = 0
    results: list[dict[str, Any]] = []
    async for step in run_checks(config_source, SystemClock()):
        error = step.error
        worst = max(worst, error.exit_code if error else 0)
        results.append(
            {
                "name": step.name,
                "ok": error is None,
                "message": error.message if error else step.message,
                "hint": error.hint if error else "",
            }
        )
        if not as_json:
            echo(f"{'✗' if error else '✓'} {step.name}: {results[-1]['message']}")
            if results[-1]["hint"]:
                echo(f"  hint: {results[-1]['hint']}")
    if as_json:
        print_json(results)
    return worst
