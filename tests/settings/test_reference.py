"""The generated texts about the settings: the table of the docs and the file of `init`."""

import re
from enum import Enum
from typing import Literal, get_args, get_origin

import pytest

from forwarder.settings.models import TOP_LEVEL_KEYS, Settings
from forwarder.settings.reference import allowed_values, table, template
from forwarder.settings.sections import SECTIONS
from forwarder.vault import master_key

CHOICES = {
    (name, key): get_args(field.annotation)
    for name, fields in (
        ("", {key: Settings.model_fields[key] for key in TOP_LEVEL_KEYS}),
        *((name, section.model_fields) for name, section in SECTIONS),
    )
    for key, field in fields.items()
    if get_origin(field.annotation) is Literal
}
"""The settings that allow some texts only, with these texts."""


def test_settings_with_choices_are_found() -> None:
    assert CHOICES.keys() >= {("", "on_enable"), ("source", "unknown_status"), ("event", "payload")}


@pytest.mark.parametrize(("section", "key"), CHOICES)
def test_table_names_every_allowed_value(section: str, key: str) -> None:
    where = f"`[{section}]`" if section else "top"
    (row,) = [line for line in table().splitlines() if line.startswith(f"| {where} | `{key}` |")]
    meaning = row.split(" | ")[-1]
    assert [value for value in CHOICES[section, key] if f"`{value}`" not in meaning] == []


@pytest.mark.parametrize(("section", "key"), CHOICES)
def test_file_of_init_names_every_allowed_value(section: str, key: str) -> None:
    _, _, rest = template().partition(f"\n[{section}]" if section else "\n")
    (line, *_) = re.findall(rf"^(?:# )?{key} = .*  # (.+)$", rest, re.MULTILINE)
    assert [value for value in CHOICES[section, key] if not re.search(rf"\b{value}\b", line)] == []


def test_allowed_values_of_an_enumeration_are_its_values() -> None:
    class Mode(Enum):
        FAST = "fast"
        SAFE = "safe"

    assert allowed_values(Mode) == ("fast", "safe")
    assert allowed_values(str) == allowed_values(tuple[str, ...]) == ()


@pytest.mark.parametrize("source", [master_key.CREDENTIAL, master_key.FILE_VARIABLE, master_key.VARIABLE])
def test_master_key_file_names_every_other_source(source: str) -> None:
    (row,) = [line for line in table().splitlines() if "`master_key_file`" in line]
    assert f"`{source}`" in row
