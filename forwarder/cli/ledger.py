"""The commands `forwarder ledger backup | repair`."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from forwarder.cli.check import print_checks
from forwarder.cli.output import JsonOption, echo
from forwarder.ledger import RunningLock, ledger_file
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
