"""`forwarder check`"""

import asyncio
from collections.abc import Iterator
from typing import Any

import typer

from forwarder.cli.output import JsonOption, echo, print_json
from forwarder.clock import SystemClock
from forwarder.ledger import RunningLock, ledger_file
from forwarder.ledger.repair.recover import RecoveryResult
from forwarder.ledger.repair.recover import recover as recover_ledger
from forwarder.settings import ConfigSource, load_local

ledger_app = typer.Typer(name="ledger", no_args_is_help=True, help="The ledger.\n\nExample: forwarder ledger repair")


def check(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """Check every component once: settings, vault, logs API, AWS identity, event bus, counters.

    Example: forwarder check
    """
    raise typer.Exit(asyncio.run(_check(context.obj, as_json=as_json)))


@ledger_app.command("repair")
def repair_ledger(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """Rescue a damaged ledger into a fresh one, then check every component as `forwarder check` does.

    Example: forwarder ledger repair
    """
    _repair(context.obj, to_stderr=as_json)
    raise typer.Exit(asyncio.run(_check(context.obj, as_json=as_json)))


def _repair(config_source: ConfigSource, *, to_stderr: bool) -> None:
    """Repair the ledger and print the result. `to_stderr` keeps standard output free for a JSON document."""
    file = ledger_file(config_source, load_local(config_source))
    with RunningLock(file, must_exist=False):
        done = recover_ledger(file)
    for line in _repair_lines(done):
        echo(line, err=to_stderr)


def _repair_lines(done: RecoveryResult) -> Iterator[str]:
    for table in [*done.rows, *(table for table in done.lost if table not in done.rows)]:
        lost = done.lost.get(table, 0)
        yield f"{table}: {done.rows.get(table, 0)} rows rescued" + (f", {lost} gaps could not be read" if lost else "")
    if "feeds" in done.lost:
        yield "a workflow whose checkpoint is lost is read anew, from the beginning of its log or from start_from"
    for execution_id in done.lost_payload_ids:
        yield f"cannot be sent, for its detail is lost: {execution_id}"
    yield f"the damaged ledger is kept as {done.damaged_copy}"


async def _check(config_source: ConfigSource, *, as_json: bool) -> int:
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
