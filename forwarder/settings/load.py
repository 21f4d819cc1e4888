"""The loading of settings from a file and an environment. One error names all faults, with a hint."""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource
from pydantic_settings.exceptions import SettingsError as UnreadableVariable

from forwarder.errors import SettingsError
from forwarder.settings import pasted, syntax, text
from forwarder.settings.faults import describe_fault
from forwarder.settings.models import (
    ENV_PREFIX,
    AlloySettings,
    ListenerSettings,
    LocalSettings,
    Settings,
    setting_names,
    variable,
)
from forwarder.settings.sections import SECTIONS
from forwarder.untrusted_json import JSON_ERRORS

# Variables of ours that are not settings.
OTHER_VARIABLES = frozenset({"FORWARDER_CONFIG", "FORWARDER_MASTER_KEY", "FORWARDER_MASTER_KEY_FILE"})

FORMAT_KEY, FORMAT = "format", 1
"""The name and the value of the format's number in a settings file."""

UNKNOWN_CAUSE_HINT = 'write each section as [section], each setting as key = value, and each text in "…"'

S = TypeVar("S", bound=LocalSettings)


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """The source of settings: a file, and variables that override it. Paths in the file are relative to its folder."""

    file: Path
    environ: Mapping[str, str]

    def path(self, relative: str) -> Path:
        return self.file.parent / relative


def resolve_config(file: str | os.PathLike[str] | None = None) -> ConfigSource:
    """Return the source with this file, else the one of `FORWARDER_CONFIG`, else `forwarder.toml`.

    Its environment is a copy of the environment of the process.
    """
    name = file or os.environ.get("FORWARDER_CONFIG") or "forwarder.toml"
    return ConfigSource(Path(name).absolute(), dict(os.environ))


def load(config_source: ConfigSource, *, empty_is_valid: bool = True) -> Settings:
    """Return the settings. Raise SettingsError if they are invalid.

    The error never holds a value, because a secret may have been typed into the file by mistake. A file may be empty
    while it is replaced. If the environment holds the required settings, an empty file would be valid and would switch
    the forwarder on, so a reload rejects it.
    """
    return validate_table(config_source, read_table(config_source.file), empty_is_valid=empty_is_valid)


def validate_table(config_source: ConfigSource, table: dict[str, Any], *, empty_is_valid: bool = True) -> Settings:
    """Return the settings of a table, the content of a settings file, as `load` does of the file.

    Raise SettingsError, with its faults, if they are invalid.
    """
    if not table and not empty_is_valid:
        raise SettingsError(f"{config_source.file} is empty", hint="restore its content")
    return _load(Settings, config_source, table)


def load_local(config_source: ConfigSource) -> LocalSettings:
    """Return the settings of this machine, even if other sections are invalid.

    Raise SettingsError if the file cannot be read, or if these settings are invalid.
    """
    return load_sections(LocalSettings, config_source, read_table(config_source.file))


def load_listeners(config_source: ConfigSource) -> ListenerSettings:
    """Return the settings of this machine and of [web], even if other sections are invalid.

    Raise SettingsError if the file cannot be read, or if these settings are invalid.
    """
    return load_sections(ListenerSettings, config_source, read_table(config_source.file))


def load_alloy(config_source: ConfigSource) -> AlloySettings:
    """Return the settings of this machine and of [source], even if other sections are invalid.

    Raise SettingsError if the file cannot be read, or if these settings are invalid.
    """
    return load_sections(AlloySettings, config_source, read_table(config_source.file))


def load_without_file(config_source: ConfigSource) -> ListenerSettings:
    """Return the settings of this machine and of [web] from the environment and the defaults, without the file.

    Raise SettingsError if a variable is invalid.
    """
    return load_sections(ListenerSettings, config_source, {})


def load_sections(model: type[S], config_source: ConfigSource, table: dict[str, Any]) -> S:
    """Return the settings of a part of the sections. Raise SettingsError, with its faults, if these are invalid."""
    return _load(model, config_source, {key: table[key] for key in model.model_fields if key in table})


def read_table(file: Path) -> dict[str, Any]:
    """Return the content of a settings file without its format. Nothing in it is validated yet.

    Raise SettingsError if the file cannot be read, is not TOML, or has a newer format.
    """
    try:
        content = text.read(file).text
    except FileNotFoundError:
        raise SettingsError(
            f"there is no settings file {file}", hint="make one with `forwarder init`, or name it with -c"
        ) from None
    return without_format(parse_toml(content, file), file)


def parse_toml(content: str, file: Path) -> dict[str, Any]:
    """Return the content of a settings file. Raise SettingsError, with the line and a hint, if it is not TOML."""
    content = text.normalize_line_ends(content)
    try:
        return tomllib.loads(content)
    except RecursionError:
        message = f"{file} is not a settings file: it is nested too deep"
        raise SettingsError(message, hint="restore the settings file, or name it with -c") from None
    except tomllib.TOMLDecodeError as error:
        hint = syntax.cause_of(content, str(error)) or UNKNOWN_CAUSE_HINT
        raise SettingsError(f"{file} is not valid TOML: {_toml_location(error)}", hint=hint) from None


def without_format(table: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return the content of a settings file without the number of its format, which is 1 if it is missing.

    Raise SettingsError if it is not a number, or if a newer forwarder wrote the file.
    """
    number = table.get(FORMAT_KEY, FORMAT)
    if type(number) is not int or number < 1:  # in Python, unlike in TOML, true is a number
        raise SettingsError(f"{FORMAT_KEY} in {file} is not a whole number from 1 on", hint=f"{FORMAT_KEY} = {FORMAT}")
    if number > FORMAT:
        raise SettingsError(
            f"{file} has format {number}, of a newer forwarder: this one reads formats up to {FORMAT}",
            hint="install that version or a later one, or restore the file of this one",
        )
    return {key: value for key, value in table.items() if key != FORMAT_KEY}


def overriding_variable(config_source: ConfigSource, key: str) -> str | None:
    """Return the name of the environment variable that overrides a setting, or None if the variable is not set."""
    return variable(key) if variable(key) in config_source.environ else None


def unknown_variables(config_source: ConfigSource) -> list[str]:
    """Return the names of variables that begin with FORWARDER_ and name no setting.

    They cause a warning and no error, because other programs may use the prefix.
    """
    known = {variable(key) for key in setting_names()} | OTHER_VARIABLES
    return sorted(name for name in config_source.environ if name.upper().startswith(ENV_PREFIX) and name not in known)


class _Environment(EnvSettingsSource):
    """The source of pydantic that reads the variables that name a setting, trimmed."""

    def __init__(self, model: type[BaseSettings], environ: Mapping[str, str]) -> None:
        known = {variable(key) for key in setting_names()}
        self._ours = {name.lower(): pasted.trim(value) for name, value in environ.items() if name in known}
        super().__init__(model, case_sensitive=False)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return dict(self._ours)


def _load(model: type[S], config_source: ConfigSource, table: dict[str, Any]) -> S:
    try:
        return model(**pasted.trim_all(merge_environment(model, config_source, table)))
    except ValidationError as error:
        faults = [
            describe_fault(details, config_source.environ)
            for details in error.errors(include_input=False, include_url=False)
        ]
    except (UnreadableVariable, RecursionError):  # nested beyond any reader
        faults = [(name, f'{name} is not JSON, e.g. ["a", "b"]') for name in _unreadable(config_source)]
    is_overridden = any({key, variable(key)} & config_source.environ.keys() for key, _ in faults)
    hint = f"edit {config_source.file}{', or change the variable' if is_overridden else ''}"
    raise SettingsError("; ".join(dict.fromkeys(message for _, message in faults)), hint=hint, faults=dict(faults))


def merge_environment(model: type[LocalSettings], config_source: ConfigSource, table: dict[str, Any]) -> dict[str, Any]:
    """Return the table with the variables applied. A variable replaces one setting, not the section around it.

    Raise the error of pydantic-settings if a variable of a list is not JSON.
    """
    merged = dict(table)
    for key, value in _Environment(model, config_source.environ)().items():
        own = merged.get(key, {})
        merged[key] = {**own, **value} if isinstance(own, dict) and isinstance(value, dict) else value
    return merged


def _unreadable(config_source: ConfigSource) -> list[str]:
    """Return the names of the variables that set a list and do not hold JSON."""
    unreadable = []
    for name, section in SECTIONS:
        for key, field in section.model_fields.items():
            value = config_source.environ.get(variable(f"{name}.{key}"))
            if isinstance(field.default, tuple) and value is not None and not _is_json(value):
                unreadable.append(variable(f"{name}.{key}"))
    return unreadable


def _is_json(value: str) -> bool:
    try:
        json.loads(value)  # as pydantic decodes it
    except JSON_ERRORS:
        return False
    return True


def _toml_location(error: tomllib.TOMLDecodeError) -> str:
    """Return the parser's message, or only the location if the message quotes the file."""
    message = str(error)
    return message if "'" not in message and '"' not in message else f"syntax error {message[message.rfind('(') :]}"
