"""`forwarder once`"""

import asyncio
from typing import Annotated

import typer

from forwarder.cli.output import AsJson, complain, echo, print_json
from forwarder.clock import SystemClock
from forwarder.errors import UsageError
from forwarder.settings.duration import parse_duration


def once(
    context: typer.Context,
    timeout: Annotated[str, typer.Option(help="How long to go on delivering once all is read.")] = "60s",
    *,
    as_json: AsJson = False,
) -> None:
    """One complete pass: read every feed, deliver what is owed, exit. For cron, and for trying it.

    Exits with 69 where the logs API or the bus could not be reached and 77 where one refused us, the rest still owed.

    Example: forwarder once --timeout 5m
    """
    from forwarder.single_pass import once as pass_once  # noqa: PLC0415  # the AWS SDK takes a while to load, and few verbs need it

    try:
        seconds = parse_duration(timeout)
    except ValueError as error:
        raise UsageError(f"--timeout {error}") from None
    done = asyncio.run(pass_once(context.obj, SystemClock(), seconds))
    if as_json:
        errors = [{"message": error.message, "mend": error.hint} for error in done.errors]
        print_json({"switched_off": done.switched_off, "books": done.books, "errors": errors})
    elif done.switched_off:
        echo("switched off: nothing was read or sent (`forwarder enable`)")
    else:
        books = done.books
        echo(f"{books.sent} sent, {books.owed} owed, {books.dead} dead, of {books.recorded} ever recorded")
        for problem in done.errors:
            complain(problem)
    raise typer.Exit(done.exit_code)
