"""The changelog follows Keep a Changelog, and names this version and the formats that it writes."""

import re
from datetime import date
from pathlib import Path

from forwarder import __version__
from forwarder.event.schema import schema as event_schema
from forwarder.ledger.sqlite.migrations import FORMAT as LEDGER_FORMAT
from forwarder.settings.load import FORMAT as SETTINGS_FORMAT
from forwarder.settings.models import setting_names
from forwarder.vault.store import FORMAT
from tests.doc_generator import leaf_commands
from tests.infra.metric_names import METRIC_LABELS

CHANGELOG = (Path(__file__).parent.parent / "CHANGELOG.md").read_text()
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_changelog_has_all_versions_in_order() -> None:
    titles = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
    assert titles[0] == "[Unreleased]"
    versions = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (.+)", title) for title in titles[1:]]
    assert all(versions)
    numbers = [found[1] for found in versions if found]
    assert numbers[0] == __version__
    assert numbers[-1] == "0.1.0"
    assert [date.fromisoformat(found[2]) for found in versions if found]


def test_changelog_has_only_known_headings() -> None:
    assert set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE)) <= KINDS


def test_changelog_names_the_written_formats() -> None:
    text, *_ = re.findall(r"^.*Formats: (.+)\.$", CHANGELOG, re.MULTILINE)  # the newest first
    detail = event_schema()["properties"]["version"]["const"]
    named = dict(part.split(" (")[0].rsplit(" ", 1) for part in re.split(r", (?![^(]*\))", text))
    formats = {"settings": SETTINGS_FORMAT, "vault": FORMAT, "ledger": LEDGER_FORMAT}
    assert named == {**{name: str(number) for name, number in formats.items()}, "detail": detail}


def renamed(title: str) -> list[tuple[str, str]]:
    """Return the old and the new names of a table of the upgrade."""
    table = CHANGELOG.split(f"| {title} in 0.1 | {title} in 0.2 |\n|---|---|\n")[1].split("\n\n")[0]
    return [(old, new) for old, new in re.findall(r"^\| (.+) \| (.+) \|$", table, re.MULTILINE)]


def test_renamed_settings_exist() -> None:
    names = [re.sub(r"`\[(\w+)\] (\w+)`", r"\1.\2", cell) for row in renamed("setting") for cell in row]
    assert len(names) == 14
    assert set(names[1::2]) <= set(setting_names())
    assert not set(names[::2]) & set(setting_names())


def test_renamed_commands_and_metrics_exist() -> None:
    commands = [re.findall(r"`([^`]+)`", new)[0] for _, new in renamed("command")]
    assert set(commands) - {"forwarder-ctl"} <= set(leaf_commands())
    metrics = {name.removesuffix("_bucket") for name in METRIC_LABELS}
    assert {new.strip("`") for _, new in renamed("metric") if new.startswith("`")} <= metrics
