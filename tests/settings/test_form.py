"""The format of the settings file: how its number is read, and that each upgrade is taken once, in order."""

from pathlib import Path

import pytest

from forwarder.errors import SettingsError
from forwarder.settings.form import Table, brought_up

FILE = Path("forwarder.toml")


def called_bus(table: Table) -> Table:
    return {"bus": table["event_bus"]}


def in_a_list(table: Table) -> Table:
    return {"buses": [table["bus"]]}


@pytest.mark.parametrize(
    "table",
    [{"event_bus": "b"}, {"format": 1, "event_bus": "b"}, {"format": 2, "bus": "b"}, {"format": 3, "buses": ["b"]}],
    ids=["none", "1", "2", "3"],
)
def test_a_file_of_any_format_is_read_as_the_newest(table: Table) -> None:
    assert brought_up(table, FILE, (called_bus, in_a_list)) == {"buses": ["b"]}


def test_a_newer_format_is_refused_and_both_numbers_are_named() -> None:
    with pytest.raises(SettingsError, match="of format 3, for a newer forwarder: this one reads up to 2"):
        brought_up({"format": 3}, FILE, (called_bus,))


@pytest.mark.parametrize("wrong", [0, -1, True, "1", 1.0, [1]])
def test_a_format_that_is_no_number_is_refused(wrong: object) -> None:
    with pytest.raises(SettingsError, match="not a whole number"):
        brought_up({"format": wrong}, FILE)
