"""The commands `forwarder ledger backup | copy | create | repair`."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from forwarder.cli.check import print_checks
from forwarder.cli.output import JsonOption, echo
from forwarder.ledger import RunningLock, create_ledger, ledger_file, ledger_place
from forwarder.ledger.repair.recover import RecoveryResult
from forwarder.ledger.repair.recover import recover as recover_ledger
from forwarder.ledger.sqlite.backup import back_up
from forwarder.settings import ConfigSource, load_local

app = typer.Typer(
    name="ledger", no_args_is_help=True, help="The ledger.\n\nExample: forwarder ledger backup forwarder.backup.db"
)


@app.command()
def backup(
    context: typer.Context, file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that does not exist.")]
) -> None:
    """Copy the ledger, as it is at one moment, to a new file. A daemon may be running.

    Example: forwarder ledger backup forwarder.backup.db
    """
    config_source: ConfigSource = context.obj
    back_up(ledger_file(config_source, load_local(config_source)), file.absolute())
    echo(f"made {file}")


@app.command()
def copy(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FROM", help="A ledger in a file: sqlite:///forwarder.db.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="An empty table: dynamodb://TABLE?region=….")],
) -> None:
    """Copy a ledger from a file to a table of DynamoDB. Stop the daemon before, then set `ledger.url` to the table.

    The table must exist, without a ledger under its prefix. An interrupted copy continues if the command is run again.
    Ids, states, checkpoints, stored payloads and the switch are copied; the counts of each minute are not.

    Example: forwarder ledger copy sqlite:///forwarder.db "dynamodb://forwarder-ledger?region=eu-west-1"
    """
    from forwarder.ledger.copy import LedgerCopy  # noqa: PLC0415  # the AWS SDK takes a while to load

    config_source: ConfigSource = context.obj
    ledger_copy = LedgerCopy.of(config_source, load_local(config_source), source, target)
    columns = (TextColumn("copied"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=None)
        copied = asyncio.run(ledger_copy.run(lambda done, total: progress.update(bar, completed=done, total=total)))
    if copied is None:
        echo("it is copied already")
        return
    echo(
        f"copied and counted: {copied.pending} pending, {copied.sent} sent, {copied.dead} dead, {copied.purged} purged"
    )
    echo(f"now set ledger.url to {target}, and run no forwarder on {source} any more")


@app.command()
def create(context: typer.Context) -> None:
    """Create the table of DynamoDB that `ledger.url` names, on demand and with TTL, and wait until it can be used.

    It is for a trial. For production, deploy the template in infra/, which also turns on point-in-time recovery. A
    ledger in a file needs no command.

    Example: forwarder ledger create
    """
    config_source: ConfigSource = context.obj
    settings = load_local(config_source)
    is_new = asyncio.run(create_ledger(config_source, settings))
    place = ledger_place(config_source, settings)
    echo(f"created {place}" if is_new else f"{place} exists already")


@app.command()
def repair(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """Copy the undamaged rows of a damaged ledger into a new one, then check every component like `forwarder check`.

    The damaged ledger is kept under another name. Stop the daemon before.

    Example: forwarder ledger repair
    """
    _repair(context.obj, to_stderr=as_json)
    raise typer.Exit(asyncio.run(print_checks(context.obj, send=False, as_json=as_json)))


def _repair(config_source: ConfigSource, *, to_stderr: bool) -> None:
    """Repair the ledger and print the result. `to_stderr` leaves standard output to a JSON document."""
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
        yield "a workflow whose checkpoint is lost is read again, from the beginning of its log or from start_from"
    for execution_id in done.lost_payload_ids:
        yield f"cannot be sent, because its detail is lost: {execution_id}"
    yield f"the damaged ledger is kept as {done.damaged_copy}"
