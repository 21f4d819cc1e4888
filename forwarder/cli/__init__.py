"""The command line: `forwarder [-c FILE] COMMAND`, one module per command."""

import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from traceback import walk_tb
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from forwarder import __version__
from forwarder.cli import (
    check,
    dead_letters,
    demo,
    enable_disable,
    events,
    health,
    init,
    keys,
    ledger,
    logs,
    once,
    replay,
    rerun,
    run,
    schema,
    status,
    tail,
    web,
)
from forwarder.cli.output import echo, print_error
from forwarder.cli.terminal import discard_output, prepare_streams
from forwarder.errors import ForwarderError
from forwarder.machine_errors import machine_error
from forwarder.settings import resolve_config
from forwarder.vault.memory import forbid_core_dumps

NOT_REPEATED = "It is not repeated here: it may be a secret."

_UNKNOWN_COMMAND = re.compile(r"No such command '(?![a-z-]{1,20}')")
"""The error of an unknown command that resembles no existing one."""


class _Group(TyperGroup):
    """A group of commands whose errors do not repeat a superfluous or unknown argument: it may be a secret."""

    def invoke(self, ctx: Any) -> Any:  # typer's own class of contexts is not public
        try:
            return super().invoke(ctx)
        except Exception as error:
            message = str(getattr(error, "message", ""))
            if message.startswith("Got unexpected extra argument"):
                error.message = f"Got an unexpected extra argument. {NOT_REPEATED}"  # type: ignore[attr-defined]  # as click's errors have it
            elif _UNKNOWN_COMMAND.match(message):
                error.message = f"No such command. {NOT_REPEATED}"  # type: ignore[attr-defined]  # as above
            raise


app = typer.Typer(
    name="forwarder",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a frame shown with its locals would show secrets
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(*, wanted: bool) -> None:
    if wanted:
        echo(f"forwarder {__version__}")
        raise typer.Exit


@app.callback()
def _settings_file(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            *("-c", "--config"),
            readable=False,  # the loader names the cause and exits with 78, which no service manager restarts
            help="The settings file [default: $FORWARDER_CONFIG or forwarder.toml].",
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001  # the callback of the option does it all
        bool,
        typer.Option(
            "--version",
            callback=lambda value: _show_version(wanted=value),
            is_eager=True,
            help="Print the version, and exit.",
        ),
    ] = False,
) -> None:
    """Stream the failed executions of Alloy Embedded workflows to an AWS EventBridge bus."""
    context.obj = resolve_config(config)


app.command()(init.init)
app.add_typer(keys.app)
app.command()(run.run)
app.command()(once.once)
app.command()(check.check)
app.command()(status.status)
app.command()(health.health)
app.command()(enable_disable.enable)
app.command()(enable_disable.disable)
app.command()(logs.logs)
app.command()(rerun.rerun)
app.command()(tail.tail)
app.add_typer(events.app)
app.add_typer(dead_letters.app)
app.add_typer(ledger.app)
app.command()(replay.replay)
app.command()(schema.schema)
app.add_typer(web.app)
app.command()(demo.demo)


@functools.cache
def command() -> Callable[[], Any]:
    """Return the command line, which typer builds from the signatures of the commands."""
    command_line = get_command(app)
    _keep_examples(command_line)
    return command_line


def _keep_examples(built: Any) -> None:
    """Let the help show each example on one line: one that is broken inside quotation marks cannot be copied."""
    built.help = (built.help or "").replace("\n\nExample:", "\n\n\b\nExample:")
    for child in getattr(built, "commands", {}).values():
        _keep_examples(child)


def main() -> None:
    """Run a command. An error is two lines for a person and an exit code for a machine, never a traceback."""
    prepare_streams()
    forbid_core_dumps()
    try:
        try:
            command()()
        finally:
            sys.stdout.flush()
    except ForwarderError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader has seen enough
        discard_output()
        sys.exit(1)
    except OSError as error:
        if explained := machine_error(error):
            print_error(explained)
            sys.exit(explained.exit_code)
        if error.filename is None:
            discard_output()
        print_error(ForwarderError(f"{error.filename or 'the output'}: {error.strerror or type(error).__name__}"))
        sys.exit(1)
    except Exception as error:  # noqa: BLE001  # a traceback may show values; these lines show none
        if explained := machine_error(error):
            print_error(explained)
            sys.exit(explained.exit_code)
        hint = "please report this line; it holds no value of yours"
        print_error(ForwarderError(f"the forwarder failed: {type(error).__name__} at {_location_of(error)}", hint=hint))
        sys.exit(1)


def _location_of(error: Exception) -> str:
    """Return the innermost function of the forwarder that the error passed through, with its line number."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__) if "forwarder" in frame.f_globals.get("__name__", "")]
    if not frames:
        return "an unknown location"
    frame = frames[-1]
    return f"{frame.f_globals['__name__']}.{frame.f_code.co_qualname}:{frame.f_lineno}"
