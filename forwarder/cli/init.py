"""The command `forwarder init`."""

import typer

from forwarder.cli.output import echo
from forwarder.first_start import create_missing_files
from forwarder.settings import ConfigSource


def init(context: typer.Context) -> None:
    """Create a commented settings file, and a master key beside it unless one is provided. Existing files are kept.

    Example: forwarder -c /etc/forwarder/forwarder.toml init
    """
    config_source: ConfigSource = context.obj
    files = create_missing_files(config_source)
    for file in files.created:
        echo(f"created {file}{' (keep a copy in a safe place)' if file == files.master_key else ''}")
    for file in files.kept:
        echo(f"kept {file}")
    if not files.created:
        echo("nothing is missing, and nothing was changed")
        return
    if "CREDENTIALS_DIRECTORY" in config_source.environ:  # a service, which has no terminal for the set-up link
        echo(f"next: edit {config_source.file}, then run `keys set alloy-api-key` as you ran `init`")
        return
    echo("next: `forwarder run --setup` completes the settings in the browser")
    echo(f"or in the terminal: edit {config_source.file}, then `forwarder keys set alloy-api-key`")
