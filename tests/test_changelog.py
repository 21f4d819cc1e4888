"""The changelog follows Keep a Changelog, and names this version and the formats that it writes."""

import re
from datetime import date
from pathlib import Path

from forwarder import __version__
from forwarder.event.schema import schema as event_schema
from forwarder.ledger.sqlite.migrations import FORMAT as LEDGER_FORMAT
from forwarder.settings.load import FORMAT as SETTINGS_FORMAT
from forwarder.vault.store import FORMAT

CHANGELOG = (Path(__file__).parent.parent / "CHANGELOG.md").read_text()
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_it_has_this_version_and_begins_with_the_first() -> None:
    titles = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
    assert titles[0] == "[Unreleased]"
    versions = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (.+)", title) for title in titles[1:]]
    assert all(versions)
    numbers = [found[1] for found in versions if found]
    assert numbers[0] == __version__
    assert numbers[-1] == "0.1.0"
    assert [date.fromisoformat(found[2]) for found in versions if found]


def test_its_entries_are_of_the_kinds_that_there_are() -> None:
    assert set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE)) <= KINDS


def test_it_names_the_formats_that_are_written() -> None:
    text, *_ = re.findall(r"^.*Formats: (.+)\.$", CHANGELOG, re.MULTILINE)  # the newest stand first
    detail = event_schema()["properties"]["version"]["const"]
    named = dict(part.split(" (")[0].rsplit(" ", 1) for part in re.split(r", (?![^(]*\))", text))
    assert named == {
        "settings": str(SETTINGS_FORMAT),
        "vault": str(FORMAT),
        "ledger": str(LEDGER_FORMAT),
        "detail": detail,
    }
