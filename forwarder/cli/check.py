"""The command `forwarder check`."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forwarder.cli.output import JsonOption, echo, print_json
from forwarder.clock import SystemClock
from forwarder.settings import ConfigSource

if TYPE_CHECKING:
    from forwarder.diagnostics import CheckResult


def check(
    context: typer.Context,
    *,
    send: Annotated[bool, typer.Option("--send", help="Also publish a test event to the bus.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every component once: settings, web UI, vault, logs API, workflows, AWS identity, event bus, counters.

    The first page of each workflow is requested, of 100 at most. Only --send proves that events can be published.

    Example: forwarder check --send
    """
    raise typer.Exit(asyncio.run(print_checks(context.obj, send=send, as_json=as_json)))


async def print_checks(config_source: ConfigSource, *, send: bool, as_json: bool) -> int:
    """Print the result of each check, and return the worst exit code."""
    from forwarder.diagnostics import run_checks  # noqa: PLC0415  # the AWS SDK takes a while to load, and few commands need it
    from forwarder.web.server import check_web_ui  # noqa: PLC0415  # as above

    worst = 0
    results: list[dict[str, Any]] = []
    async for step in run_checks(config_source, SystemClock(), check_web_ui, send=send):
        worst = max(worst, step.error.exit_code if step.error else 0)
        results.append(_to_json(step))
        if not as_json:
            _print(step)
    if as_json:
        print_json(results)
    return worst


def _to_json(step: "CheckResult") -> dict[str, Any]:
    return {
        "name": step.name,
        "ok": None if step.skipped else step.error is None,
        "message": step.error.message if step.error else step.message,
        "hint": step.error.hint if step.error else "",
    }


def _print(step: "CheckResult") -> None:
    mark = "–" if step.skipped else "✗" if step.error else "✓"
    echo(f"{mark} {step.name}: {step.error.message if step.error else step.message}")
    if step.error and step.error.hint:
        echo(f"  hint: {step.error.hint}")
