"""The command `forwarder once`."""

import asyncio
from collections import Counter
from typing import Annotated

import typer

from forwarder.cli.output import JsonOption, echo, parse_option, print_error, print_json
from forwarder.clock import SystemClock
from forwarder.errors import ForwarderError
from forwarder.settings.duration import parse_duration


def once(
    context: typer.Context,
    timeout: Annotated[str, typer.Option(help="Longest time for delivery after all feeds were polled.")] = "60s",
    *,
    as_json: JsonOption = False,
) -> None:
    """Run one complete pass: poll every feed, deliver pending entries, exit. Use it in cron, or for a first test.

    It exits with 69 if the logs API or the bus cannot be reached, with 77 if one of them refuses access, with 1 if
    this pass added a dead letter, with 75 if the ledger cannot be used now or the pass was too short to take over a
    process that was killed, with 78 if settings or vault are invalid or incomplete, and with 130 if a signal ended it.
    Entries that are not delivered stay pending.

    Example: forwarder once --timeout 5m
    """
    from forwarder.once import once as run_once  # noqa: PLC0415  # the AWS SDK takes a while to load, and few commands need it

    seconds = parse_option("--timeout", parse_duration, timeout)
    done = asyncio.run(run_once(context.obj, SystemClock(), seconds))
    problems = Counter((error.message, error.hint) for error in done.errors)
    if as_json:
        print_json(
            {
                "switched_off": done.switched_off,
                "interrupted": done.interrupted,
                "counters": done.counters,
                "recorded": done.recorded,
                "sent": done.sent,
                "dead_lettered": done.dead_lettered,
                "errors": [
                    {"message": message, "hint": hint, "count": count} for (message, hint), count in problems.items()
                ],
            }
        )
    elif done.switched_off:
        echo("switched off: nothing was polled or sent (`forwarder enable`, or for all processes `--fleet`)")
    else:
        counters = done.counters
        echo(f"this pass: {done.recorded} recorded, {done.sent} sent")
        recorded = f"of {counters.recorded} ever recorded"
        echo(f"in total: {counters.sent} sent, {counters.pending} pending, {counters.dead} dead, {recorded}")
        if done.interrupted:
            print_error(ForwarderError("a signal ended the pass before its end", hint="the next pass continues"))
        if done.dead_lettered:
            letters = f"{done.dead_lettered} dead letter{'' if done.dead_lettered == 1 else 's'}"
            print_error(ForwarderError(f"this pass added {letters}", hint="`forwarder dead-letters list`"))
        for (message, hint), count in problems.items():
            # Only the polls of several feeds end with the same error.
            print_error(ForwarderError(f"{message} ({count} feeds)" if count > 1 else message, hint=hint))
    raise typer.Exit(done.exit_code)
