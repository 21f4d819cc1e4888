"""The command `forwarder check`."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forwarder.cli.health import request_health
from forwarder.cli.output import JsonOption, echo, print_json
from forwarder.clock import SystemClock
from forwarder.errors import ForwarderError
from forwarder.ledger import ledger_place
from forwarder.settings import ConfigSource, Settings

if TYPE_CHECKING:
    from forwarder.diagnostics import CheckResult, Proof


def check(
    context: typer.Context,
    *,
    send: Annotated[bool, typer.Option("--send", help="Also publish a test event to the bus.")] = False,
    prove: Annotated[
        bool, typer.Option("--prove", help="Also publish a test event, and wait until it arrives in the canary queue.")
    ] = False,
    queue: Annotated[
        str, typer.Option(metavar="URL", help="URL of the canary queue, if it is not the one of infra/bus.yaml.")
    ] = "",
    wait: Annotated[float, typer.Option(min=1, max=600, help="Seconds within which the test event must arrive.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Check every component once: settings, web UI, vault, logs API, workflows, AWS identity, event bus, counters.

    The first page of at most 100 workflows is requested. Only --send proves that events can be published, and
    only --prove that they arrive behind the bus.

    Example: forwarder check --prove
    """
    if queue and not prove:
        raise typer.BadParameter("needs --prove", param_hint="--queue")
    from forwarder.diagnostics import Proof  # noqa: PLC0415  # as below

    proof = Proof(queue, wait) if prove else None
    raise typer.Exit(asyncio.run(print_checks(context.obj, send=send, proof=proof, as_json=as_json)))


async def print_checks(
    config_source: ConfigSource, *, send: bool = False, proof: "Proof | None" = None, as_json: bool
) -> int:
    """Print the result of each check, and return the worst exit code."""
    from forwarder.diagnostics import run_checks  # noqa: PLC0415  # the AWS SDK takes a while to load, and few commands need it
    from forwarder.web.server import check_addresses, check_web_ui  # noqa: PLC0415  # as above

    def check_web(config_source: ConfigSource, settings: Settings) -> str:
        message = check_web_ui(config_source, settings)
        if not _is_running(config_source, settings):  # a running forwarder holds its addresses itself
            check_addresses(settings.web)
        return message

    worst = 0
    results: list[dict[str, Any]] = []
    async for step in run_checks(config_source, SystemClock(), check_web, send=send, proof=proof):
        worst = max(worst, step.error.exit_code if step.error else 0)
        results.append(_to_json(step))
        if not as_json:
            _print(step)
    if as_json:
        print_json(results)
    return worst


def _is_running(config_source: ConfigSource, settings: Settings) -> bool:
    """Return whether a forwarder runs on this machine. A shared ledger has no lock, so its listener is checked."""
    try:
        is_locked = ledger_place(config_source, settings).is_locked()
        return request_health(config_source, path="/livez").response is not None if is_locked is None else is_locked
    except ForwarderError:
        return False


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
