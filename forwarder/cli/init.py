"""The command `forwarder init`."""

import typer

from forwarder import atomicfile
from forwarder.cli.output import echo
from forwarder.errors import UsageError
from forwarder.settings import ConfigSource
from forwarder.settings.models import VaultSettings
from forwarder.settings.reference import template
from forwarder.vault import master_key


def init(context: typer.Context) -> None:
    """Create a commented settings file, and a master key beside it unless one is provided. Nothing is overwritten.

    Example: forwarder -c /etc/forwarder/forwarder.toml init
    """
    config_source: ConfigSource = context.obj
    key = (
        None
        if master_key.is_externally_provided(config_source)
        else config_source.path(VaultSettings().master_key_file)
    )
    existing = [str(file) for file in (config_source.file, key) if file and atomicfile.lexists(file)]
    if existing:
        raise UsageError(f"not overwritten: {' and '.join(existing)}", hint="name another place with -c")
    try:
        if key:
            atomicfile.create(key, master_key.generate().encode(), mode=0o600)
        atomicfile.create(config_source.file, template().encode(), mode=0o644)
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be made: {error.strerror}") from None
    echo(f"made {config_source.file}")
    if key:
        echo(f"made {key} (keep a copy in a safe place)")
    echo("next: fill in workflows, event_bus and region; then `forwarder keys set alloy-api-key`")
