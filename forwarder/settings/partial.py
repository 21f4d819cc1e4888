"""The settings of an incomplete or invalid file: valid values as they are, and defaults in place of the others."""

import contextlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError
from pydantic_settings.exceptions import SettingsError as UnreadableVariable

from forwarder.errors import SettingsError
from forwarder.settings import pasted, text
from forwarder.settings.load import ConfigSource, load_listeners, load_sections, merge_environment, read_table
from forwarder.settings.models import ListenerSettings, Settings
from forwarder.settings.section import Section
from forwarder.settings.sections import SECTIONS

REQUIRED_PLACEHOLDER = ""
"""The value of a required setting that is missing. It is not valid, so that nothing can be sent with it."""

_SECTION_START = re.compile(r"^(?=[ \t]*\[)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ValidSections:
    """The settings of this machine and of [web] in an invalid file: its valid sections, and defaults for the others.

    `unknown` are the names of the sections that the file may set otherwise.
    """

    settings: ListenerSettings
    unknown: frozenset[str]


def load_valid_sections(config_source: ConfigSource) -> ValidSections:
    """Return what an invalid file says in sections without a fault. Raise SettingsError if a variable is invalid."""
    try:
        table, is_toml = read_table(config_source.file), True
    except SettingsError:
        table, is_toml = _readable_sections(config_source.file), False
    valid: dict[str, Any] = {}
    for name in ListenerSettings.model_fields:
        if name in table:
            with contextlib.suppress(SettingsError):
                load_sections(ListenerSettings, config_source, {name: table[name]})
                valid[name] = table[name]
    unknown = {
        name for name in ListenerSettings.model_fields if name not in valid and not (is_toml and name not in table)
    }
    return ValidSections(load_sections(ListenerSettings, config_source, valid), frozenset(unknown))


def _readable_sections(file: Path) -> dict[str, Any]:
    """Return the sections that are TOML on their own, of a file that is not. Return none if it cannot be read."""
    try:
        content = text.normalize_line_ends(text.read(file).text)
    except (FileNotFoundError, SettingsError):
        return {}
    table: dict[str, Any] = {}
    for part in _SECTION_START.split(content):
        with contextlib.suppress(tomllib.TOMLDecodeError, RecursionError):
            table |= tomllib.loads(part)
    return table


def load_partial(config_source: ConfigSource) -> Settings:
    """Return settings that may be incomplete, and that no loop may use.

    Raise SettingsError if the file cannot be read, or if the settings of this machine or of its listeners are invalid.
    """
    listeners = load_listeners(config_source)
    table = read_table(config_source.file)
    with contextlib.suppress(UnreadableVariable):  # `load` reports it; the file's value is displayed
        table = merge_environment(Settings, config_source, table)
    values: dict[str, Any] = {name: getattr(listeners, name) for name in ListenerSettings.model_fields}
    for name, section in SECTIONS:
        if name not in values:
            values[name] = _partial_section(section, table.get(name))
    return Settings.model_construct(**values)


def _partial_section(section: type[Section], values: object) -> Section:
    """Return a section with the values that are valid alone. The other values are defaults or placeholders."""
    given = pasted.trim_all(values) if isinstance(values, dict) else {}
    found: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        if field.is_required():
            found[name] = REQUIRED_PLACEHOLDER
        if name in given:
            try:
                # A validator of the whole section could not tell which of its values is at fault.
                validated_type: Any = Annotated[field.annotation, field]
                found[name] = TypeAdapter(validated_type).validate_python(given[name])
            except ValidationError:
                continue
    return section.model_construct(**found)
