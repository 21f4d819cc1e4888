"""`forwarder check`"""

import asyncio
from typing import Annotated, Any

import typer

from forwarder.cli.output import AsJson, print_json, printable
from forwarder.clock import SystemClock
from forwarder.ledger import RunningLock, ledger_file
from forwarder.ledger.repair import repair as repaired
from forwarder.settings import Place, load_local


def check(
    context: typer.Context,
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Rescue a damaged ledger into a fresh one first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Try every part once: settings, vault, logs API, AWS identity, event bus, books.

    Example: forwarder check
    """
    if repair:
        _repair(context.obj)
    raise typer.Exit(asyncio.run(_check(context.obj, as_json=as_json)))


def _repair(place: Place) -> None:
    file = ledger_file(place, load_local(place))
    with RunningLock(file):
        done = repaired(file)
    for table, rows in done.rows.items():
        gaps = done.lost.get(table, 0)
        typer.echo(f"{table}: {rows} rows rescued" + (f", and {gaps} gaps that could not be read" if gaps else ""))
    for execution_id in done.without_detail:
        typer.echo(f"cannot be sent, for its detail is lost: {printable(execution_id)}")
    typer.echo(f"the damaged ledger is kept as {done.kept_as}")


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
