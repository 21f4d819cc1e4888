"""`forwarder init`"""

import typer

from forwarder import files
from forwarder.cli.output import echo
from forwarder.errors import UsageError
from forwarder.settings import Place
from forwarder.settings.fields import VaultSettings
from forwarder.settings.reference import template
from forwarder.vault import master_key


def init(context: typer.Context) -> None:
    """Make a commented settings file, and a master key beside it unless one is handed over. Nothing is overwritten.

    Example: forwarder -c /etc/forwarder/forwarder.toml init
    """
    place: Place = context.obj
    key = None if master_key.is_handed_over(place) else place.path(VaultSettings().master_key_file)
    there = [str(file) for file in (place.file, key) if file and files.is_there(file)]
    if there:
        raise UsageError(f"not overwritten: {' and '.join(there)}", hint="name another place with -c")
    try:
        if key:
            files.create(key, master_key.generate().encode(), mode=0o600)
        files.create(place.file, template().encode(), mode=0o644)
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be made: {error.strerror}") from None
    echo(f"made {place.file}")
    if key:
        echo(f"made {key} (keep a copy in a safe place)")
    echo("next: fill in workflows, event_bus and region; then `forwarder keys set alloy-api-key`")
