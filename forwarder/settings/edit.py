"""Edits of the settings file that leave every other line as it was, comments included."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array, Table

from forwarder import files
from forwarder.errors import SettingsError
from forwarder.settings import form, text
from forwarder.settings.load import Place, overridden, validated

Value = bool | int | str | Sequence[str | Mapping[str, str]]


def set_value(place: Place, key: str, value: Value) -> bool:
    """Write one setting, `enabled` or `section.key`, whatever else stands in the file; whether it changed.

    Raises SettingsError where the environment overrides it, or the file cannot be read or written.
    """
    _refuse_overridden(place, [key])
    return _rewrite(place, {key: value}, must_be_valid=False)


def set_values(place: Place, values: Mapping[str, Value]) -> bool:
    """Write several settings at once, if the whole is valid with them; whether the file changed.

    Raises SettingsError as `set_value`, and with its `faults` where the whole would not be valid; then nothing changes.
    """
    _refuse_overridden(place, values)
    return _rewrite(place, values, must_be_valid=True)


def _refuse_overridden(place: Place, keys: Iterable[str]) -> None:
    for key in keys:
        if name := overridden(place, key):
            raise SettingsError(
                f"{key} is set by the variable {name}, which overrides the file", hint=f"change or unset {name}"
            )


def _rewrite(place: Place, values: Mapping[str, Value], *, must_be_valid: bool) -> bool:
    try:
        text.read(place.file)  # before its folder is locked: there may be none
        with files.locked(files.end_of(place.file).parent):
            before = text.read(place.file)
            document = _parsed(place.file, before.text)
            for key, value in values.items():
                _set(place.file, document, key, value)
            if must_be_valid:
                validated(place, form.brought_up(document.unwrap(), place.file))
            after = tomlkit.dumps(document)
            changed = after != before.text
            if changed:
                _replace(place.file, before.encode(after))
            return changed
    except FileNotFoundError:
        raise SettingsError(f"there is no settings file {place.file}", hint="make one with `forwarder init`") from None


def _parsed(file: Path, content: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(content)
    except (TOMLKitError, RecursionError) as error:
        raise SettingsError(f"{file} cannot be edited: it is not readable TOML ({type(error).__name__})") from None


def _set(file: Path, document: tomlkit.TOMLDocument, key: str, value: Value) -> None:
    section, _, name = key.rpartition(".")
    table = document.setdefault(section, tomlkit.table()) if section else document
    if not isinstance(table, (Table, tomlkit.TOMLDocument)):
        raise SettingsError(f"{section} in {file} is not a section")
    before = table.get(name)
    if isinstance(before, Array) and isinstance(value, list):
        _change_items(before, value)
    else:
        table[name] = value


def _change_items(array: Array, wanted: list[Any]) -> None:
    """Take out and add what differs, so that the other items keep their lines and comments."""
    before = array.unwrap()
    kept = [item for item in before if item in wanted]
    if wanted[: len(kept)] != kept:  # in another order: then as it is wanted
        array.clear()
        kept = []
    else:
        for index in reversed(range(len(before))):
            if before[index] not in wanted:
                del array[index]
    for item in wanted[len(kept) :]:
        array.append(_inline(item))


def _inline(item: str | Mapping[str, str]) -> Any:
    if isinstance(item, str):
        return item
    table = tomlkit.inline_table()
    table.update(item)
    return table


def _replace(file: Path, content: bytes) -> None:
    try:
        files.replace(file, content)
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be written: {error.strerror}",
            hint=f"edit it where it comes from; or {files.write_hint(file)}",
        ) from None
