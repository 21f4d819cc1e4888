"""The editing of the settings file. Lines that do not change keep their form and comments."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array, Table

from forwarder import atomicfile
from forwarder.errors import SettingsError
from forwarder.settings import text
from forwarder.settings.load import ConfigSource, overriding_variable, parse_toml, validate_table, without_format

Value = bool | int | str | Sequence[str | Mapping[str, str]]


def set_value(config_source: ConfigSource, key: str, value: Value) -> bool:
    """Write one setting, `enabled` or `section.key`, even if others are invalid. Return whether the file changed.

    Raise SettingsError if the environment overrides the setting, or if the file cannot be read, parsed or written.
    """
    _refuse_overridden(config_source, [key])
    with locked_file(config_source):
        return _rewrite(config_source, {key: value}, must_be_valid=False)


def set_values(config_source: ConfigSource, values: Mapping[str, Value]) -> bool:
    """Write several settings at once if all settings are valid with them. Return whether the file changed.

    Raise SettingsError as `set_value` does, and with its `faults` if the settings were invalid; nothing changes then.
    """
    with locked_file(config_source):
        return replace_values(config_source, values)


def replace_values(config_source: ConfigSource, values: Mapping[str, Value]) -> bool:
    """Write several settings as `set_values` does. The caller holds the lock of `locked_file`."""
    _refuse_overridden(config_source, values)
    return _rewrite(config_source, values, must_be_valid=True)


@contextmanager
def locked_file(config_source: ConfigSource) -> Iterator[None]:
    """Lock the settings file during the block. Raise SettingsError if it does not exist or cannot be locked."""
    file = config_source.file
    _read(file)  # before its folder is locked: there may be none
    with ExitStack() as stack:
        try:
            stack.enter_context(atomicfile.locked(atomicfile.resolve_links(file).parent))
        except OSError as error:
            message = f"the folder of {file} cannot be locked: {error.strerror}"
            raise SettingsError(message, hint=atomicfile.lock_hint(error)) from None
        yield


def require_replaceable(config_source: ConfigSource) -> None:
    """Raise SettingsError if the settings file cannot be replaced. The caller holds the lock of `locked_file`.

    A copy replaces it: nothing else shows a full disk, or a mount of the single file.
    """
    _read(config_source.file)
    _replace(config_source.file, config_source.file.read_bytes())


def _refuse_overridden(config_source: ConfigSource, keys: Iterable[str]) -> None:
    for key in keys:
        if name := overriding_variable(config_source, key):
            raise SettingsError(
                f"{key} is set by the variable {name}, which overrides the file", hint=f"change or unset {name}"
            )


def _rewrite(config_source: ConfigSource, values: Mapping[str, Value], *, must_be_valid: bool) -> bool:
    before = _read(config_source.file)
    document = _parse(config_source.file, before.text)
    for key, value in values.items():
        _set(config_source.file, document, key, value)
    if must_be_valid:
        validate_table(config_source, without_format(document.unwrap(), config_source.file))
    after = tomlkit.dumps(document)
    changed = after != before.text
    if changed:
        _replace(config_source.file, before.encode(after))
    return changed


def _read(file: Path) -> text.Text:
    try:
        return text.read(file)
    except FileNotFoundError:
        raise SettingsError(f"there is no settings file {file}", hint="make one with `forwarder init`") from None


def _parse(file: Path, content: str) -> tomlkit.TOMLDocument:
    parse_toml(content, file)  # its error names the line and the cause
    try:
        return tomlkit.parse(content)
    except (TOMLKitError, RecursionError) as error:  # such as line ends that only `parse_toml` accepts
        raise SettingsError(
            f"{file} cannot be edited: the editor of TOML does not read it ({type(error).__name__})",
            hint="save it with line feeds as line ends, or edit the setting by hand",
        ) from None


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


def _change_items(array: Array, items: list[Any]) -> None:
    """Change an array to `items`. Items that stay keep their lines and comments, unless the order changes."""
    before = array.unwrap()
    kept = [item for item in before if item in items]
    if items[: len(kept)] != kept:  # they have another order
        array.clear()
        kept = []
    else:
        for index in reversed(range(len(before))):
            if before[index] not in items:
                del array[index]
    for item in items[len(kept) :]:
        array.append(_inline(item))


def _inline(item: str | Mapping[str, str]) -> Any:
    if isinstance(item, str):
        return item
    table = tomlkit.inline_table()
    table.update(item)
    return table


def _replace(file: Path, content: bytes) -> None:
    try:
        atomicfile.replace(file, content)
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be written: {error.strerror}",
            hint=f"edit it where it comes from; or {atomicfile.write_hint(file)}",
        ) from None
