"""The texts that are generated from the fields of the settings: the table of the docs, and the file of `init`."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from forwarder.settings.duration import format_duration
from forwarder.settings.load import FORMAT, FORMAT_KEY
from forwarder.settings.models import TOP_LEVEL_KEYS, Settings
from forwarder.settings.section import Section
from forwarder.settings.sections import SECTIONS

_OPENING = """\
# Settings of the forwarder. A change takes effect within a second, without a restart,
# except for [ledger], [vault] and [web]. Lines that start with # show the defaults.
# Durations: 200ms, 30s, 5m, 24h, 7d. A variable overrides a line: FORWARDER_SOURCE__BASE_URL.
"""

# Required settings stand uncommented, so that a forgotten one is named.
_REQUIRED_VALUES = {
    "enabled": "true",
    "source.workflows": "[]",
    "destination.event_bus": '""',
    "destination.region": '""',
}


def table() -> str:
    """Return a Markdown table of every setting."""
    rows = ["| section | key | default | meaning |", "|---|---|---|---|"]
    for name, key, field in _fields():
        section = f"`[{name}]`" if name else "top"
        rows.append(f"| {section} | `{key}` | {_default_cell(field)} | {_meaning(field)} |")
    return "\n".join(rows) + "\n"


def template() -> str:
    """Return a settings file with every key, its meaning and its default."""
    lines = [_OPENING, f"{FORMAT_KEY} = {FORMAT}  # of this file: a newer one is refused\n"]
    for name, key, field in _fields():
        dotted = f"{name}.{key}" if name else key
        if name and key == next(iter(dict(SECTIONS)[name].model_fields)):
            lines.append(f"\n[{name}]  # {_title(dict(SECTIONS)[name])}\n")
        meaning = _meaning(field).replace("`", "")
        if dotted in _REQUIRED_VALUES:
            lines.append(f"{key} = {_REQUIRED_VALUES[dotted]}  # {meaning}\n")
        else:
            lines.append(f"# {key} = {_toml(field.default)}  # {meaning}\n")
    return "".join(lines)


def allowed_values(annotation: object) -> tuple[str, ...]:
    """Return the texts that a type of literals or an enumeration allows. There are none for any other type."""
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return tuple(str(member.value) for member in annotation)
    return ()


def _fields() -> Iterator[tuple[str, str, FieldInfo]]:
    for key in TOP_LEVEL_KEYS:
        yield "", key, Settings.model_fields[key]
    for name, section in SECTIONS:
        for key, field in section.model_fields.items():
            yield name, key, field


def _title(section: type[Section]) -> str:
    title = (section.__doc__ or "").strip().rstrip(".")
    return title[:1].lower() + title[1:]


def _meaning(field: FieldInfo) -> str:
    """Return the description of a setting, with its values if only some texts are allowed."""
    *others, last = [f"`{value}`" for value in allowed_values(field.annotation)] or [""]
    return f"{field.description} ({', '.join(others)} or {last})" if others else str(field.description)


def _default_cell(field: FieldInfo) -> str:
    return "required" if field.is_required() else f"`{_toml(field.default)}`"


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case timedelta():
            return f'"{format_duration(value)}"'
        case datetime():
            return value.isoformat()
        case tuple():
            return f"[{', '.join(_toml(item) for item in value)}]"
        case str():
            return f'"{value}"'
        case _:
            return str(value)
