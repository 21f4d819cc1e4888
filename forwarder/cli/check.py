"""`forwarder check`"""

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from forwarder.cli.output import AsJson, echo, print_json
from forwarder.clock import SystemClock
from forwarder.ledger import RunningLock, ledger_file
from forwarder.ledger.repair import Repaired
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
        _repair(context.obj, aside=as_json)
    raise typer.Exit(asyncio.run(_check(context.obj, as_json=as_json)))


def _repair(place: Place, *, aside: bool) -> None:
    """`aside` keeps what it says out of a document on standard output."""
    file = ledger_file(place, load_local(place))
    with RunningLock(file, must_exist=False):
        done = repaired(file)
    for line in _told(done):
        echo(line, err=aside)


def _told(done: Repaired) -> Iterator[str]:
    for table in [*done.rows, *(table for table in done.lost if table not in done.rows)]:
        lost = done.lost.get(table, 0)
        yield f"{table}: {done.rows.get(table, 0)} rows rescued" + (f", {lost} gaps could not be read" if lost else "")
    if "feeds" in done.lost:
        yield "a workflow whose checkpoint is lost is read anew, from the beginning of its log or from start_from"
    for execution_id in done.without_detail:
        yield f"cannot be sent, for its detail is lost: {execution_id}"
    yield f"the damaged ledger is kept as {done.kept_as}"


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
            echo(f"{'✗' if error else '✓'} {step.name}: {told[-1]['said']}")
            if told[-1]["mend"]:
                echo(f"  mend: {told[-1]['mend']}")
    if as_json:
        print_json(told)
    return worst
