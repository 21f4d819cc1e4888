"""Edits of the settings file that leave every other line as it was, comments included."""

from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from forwarder import files
from forwarder.errors import SettingsError
from forwarder.settings.load import Place, overridden


def set_value(place: Place, key: str, value: bool | int | str) -> bool:
    """Write one setting, `enabled` or `section.key`; whether the file changed.

    Raises SettingsError where the environment overrides it, or the file cannot be read or written.
    """
    if name := overridden(place, key):
        raise SettingsError(
            f"{key} is set by the variable {name}, which overrides the file", hint=f"change or unset {name}"
        )
    try:
        with files.locked(place.file.resolve().parent):
            return _edit(place.file, key, value)
    except FileNotFoundError:
        raise SettingsError(f"there is no settings file {place.file}", hint="make one with `forwarder init`") from None


def _edit(file: Path, key: str, value: bool | int | str) -> bool:
    before = file.read_bytes()
    try:
        document = tomlkit.parse(before.decode())
    except (UnicodeDecodeError, TOMLKitError) as error:
        raise SettingsError(f"{file} cannot be edited: it is not readable TOML ({type(error).__name__})") from None
    section, _, name = key.rpartition(".")
    table = document.setdefault(section, tomlkit.table()) if section else document
    if not isinstance(table, (Table, tomlkit.TOMLDocument)):
        raise SettingsError(f"{section} in {file} is not a section")
    table[name] = value
    after = tomlkit.dumps(document).encode()
    if after == before:
        return False
    try:
        files.replace(file, after)
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be written: {error.strerror}",
            hint="edit it where it comes from, or mend its permissions",
        ) from None
    return True
