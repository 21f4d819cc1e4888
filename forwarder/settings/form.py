"""The format of the settings file: its number, and how a file of an earlier one is read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from forwarder.errors import SettingsError

Table = dict[str, Any]

KEY = "format"

UPGRADES: tuple[Callable[[Table], Table], ...] = ()
"""The first takes a table of format 1 to format 2, and so on. The file stays as its owner wrote it."""


def newest(upgrades: tuple[Callable[[Table], Table], ...] = UPGRADES) -> int:
    return 1 + len(upgrades)


def brought_up(table: Table, file: Path, upgrades: tuple[Callable[[Table], Table], ...] = UPGRADES) -> Table:
    """The table in the format in force, without the key that names its own. A file that names none is of format 1.

    Raises SettingsError for a format that is none, or a newer one.
    """
    rest = {key: value for key, value in table.items() if key != KEY}
    form = table.get(KEY, 1)
    if type(form) is not int or form < 1:  # in TOML, too, true is no number
        raise SettingsError(f"{KEY} in {file} is not a whole number from 1 on", hint=f"{KEY} = {newest(upgrades)}")
    if form > newest(upgrades):
        raise SettingsError(
            f"{file} is of format {form}, for a newer forwarder: this one reads up to {newest(upgrades)}",
            hint="install that version or a later one, or bring back the file of this one",
        )
    for upgrade in upgrades[form - 1 :]:
        rest = upgrade(rest)
    return rest
