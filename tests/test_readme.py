"""The README describes what exists, and nothing else."""

import re
import tomllib
from pathlib import Path

from typer.main import get_command

from forwarder.cli import app
from forwarder.settings.reference import table, template

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MAX_LINES = 220
MAX_PICTURE_BYTES = 200_000


SETTINGS = (ROOT / "docs" / "settings.md").read_text()


def test_the_docs_have_the_table_of_all_settings_as_the_fields_define_it() -> None:
    assert table() in SETTINGS


def test_every_link_of_the_readme_and_the_docs_leads_to_a_file() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_names_every_verb() -> None:
    commands = {
        f"{name} {inner}".strip()
        for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]  # a group has them
        for inner in getattr(command, "commands", {"": None})
    }
    named = set(
        re.findall(
            r"`((?:keys |dead-letters |ledger |web )?[a-z-]+)[^`]*`", README.split("## Commands")[1].split("## ")[0]
        )
    )
    assert commands <= named


def test_the_readme_can_be_read_in_one_go() -> None:
    assert len(README.splitlines()) <= MAX_LINES


def test_the_file_that_init_makes_is_valid_once_the_bus_is_filled_in() -> None:
    text = template().replace('event_bus = ""', 'event_bus = "failures"').replace('region = ""', 'region = "eu-west-1"')
    assert tomllib.loads(text)["destination"] == {"event_bus": "failures", "region": "eu-west-1"}


def test_every_commented_line_of_that_file_is_valid_too() -> None:
    lines = [line.removeprefix("# ") if " = " in line else line for line in template().splitlines()]
    assert set(tomllib.loads("\n".join(lines))) >= {"enabled", "source", "destination", "vault", "ledger", "web", "run"}


def test_the_readme_names_every_exit_code() -> None:
    codes = README.split("Exit codes:")[1].split("\n\n")[0]
    assert {int(code) for code in re.findall(r"\b\d+\b", codes)} == {0, 1, 2, 69, 75, 77, 78}


def test_the_picture_of_the_page_is_there_and_small() -> None:
    (name,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    picture = (ROOT / name).read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < MAX_PICTURE_BYTES
