"""The settings of a first start, for display: valid values as they are, and defaults in place of the others."""

import contextlib
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError
from pydantic_settings.exceptions import SettingsError as UnreadableVariable

from forwarder.settings import pasted
from forwarder.settings.load import ConfigSource, load_listeners, merge_environment, read_table
from forwarder.settings.models import ListenerSettings, Settings
from forwarder.settings.sections import SECTIONS, Section

REQUIRED_PLACEHOLDER = ""
"""The value of a required setting that is missing. It is not valid, so that nothing can be sent with it."""


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
