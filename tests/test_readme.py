"""README and docs describe what exists, completely where they list it."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import pytest

from forwarder import __version__, errors
from forwarder.event.health_event import health_schema
from forwarder.event.schema import schema
from forwarder.event.truncate import SHEDDABLE
from forwarder.settings.reference import table, template
from forwarder.web.status_snapshot import COMPONENT_LABELS
from tests.doc_generator import DOCS, blocks, generated, leaf_commands
from tests.event.closed_schema import closed_schema
from tests.infra.pattern import matches

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "infra/README.md")),
    *sorted(DOCS.glob("*.md")),
]
MAX_LINES = 120
MAX_COLUMNS = 120
MAX_PICTURE_BYTES = 200_000
HEADINGS = ["Quick start", "Commands", "Settings", "Failure behaviour", "Web UI", "Architecture"]

SETTINGS = (DOCS / "settings.md").read_text()
COMMANDS = (DOCS / "commands.md").read_text()


@pytest.mark.parametrize("file", blocks())
def test_generated_docs_are_up_to_date(file: str) -> None:
    assert generated(file) == (DOCS / file).read_text(), "run `make docs`"


def test_docs_have_the_generated_table_of_settings() -> None:
    assert table() in SETTINGS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


def anchors(file: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES[2:], ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_the_docs_name_exist(page: Path) -> None:
    named = re.findall(r"`((?:forwarder|tests|infra)/[\w./*-]+)`", page.read_text())
    assert not [name for name in named if not list(ROOT.glob(name))]


def test_the_docs_name_every_command() -> None:
    assert set(leaf_commands()) == set(re.findall(r"^### (.+)$", COMMANDS, re.MULTILINE))


def test_commands_of_the_readme_exist() -> None:
    cells = README.split("## Commands")[1].split("## ")[0].split("|---|---|")[1]
    named = re.findall(r"`((?:keys |dead-letters |events |ledger |web )?[a-z-]+)[^`]*`", cells)
    assert len(named) >= 10
    assert set(named) <= set(leaf_commands())


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= MAX_LINES
    assert max(map(len, README.splitlines())) <= MAX_COLUMNS
    assert re.findall(r"^## (.+)$", README, re.MULTILINE) == HEADINGS


QUICK_START = README.split("## Quick start")[1].split("\n## ")[0]


def test_quick_start_is_valid_shell() -> None:
    blocks = re.findall(r"^```\n(.+?)^```", QUICK_START, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)  # noqa: S607  # the shell of the reader


def test_quick_start_uses_commands_that_exist() -> None:
    named = {found.strip() for found in re.findall(r"^forwarder ((?:keys )?[a-z]+)", QUICK_START, re.MULTILINE)}
    assert named >= {"run", "init", "keys set", "check"}
    assert named <= set(leaf_commands())
    assert "`--setup`" in COMMANDS


@pytest.mark.parametrize("words", ["python3 -m venv", "pipx install", "API Keys", "start_from", "Security credentials"])
def test_quick_start_names_what_a_new_user_needs(words: str) -> None:
    assert words in QUICK_START


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_assumes_that_an_editor_is_set(page: Path) -> None:
    """On most machines `$EDITOR` is empty, and the command would run the file instead of editing it."""
    assert "$EDITOR" not in page.read_text()


def test_the_docs_link_every_page() -> None:
    linked = {
        (page.parent / name).resolve() for page in PAGES for name in re.findall(r"\]\(([^)#:]+)", page.read_text())
    }
    assert {page.resolve() for page in PAGES if page.name != "README.md"} <= linked


@pytest.mark.parametrize("file", ["README.md", "docs/events.md"])
def test_example_events_are_valid(file: str) -> None:
    example, *_ = re.findall(r"^```json\n(.+?)^```", (ROOT / file).read_text(), re.MULTILINE | re.DOTALL)
    event = json.loads(example)
    jsonschema.validate(event["detail"], closed_schema())
    assert event["detail"]["forwarder"]["version"] == __version__


def test_the_rule_of_the_readme_matches_its_event() -> None:
    event, rule = (json.loads(each) for each in re.findall(r"^```json\n(.+?)^```", README, re.MULTILINE | re.DOTALL))
    assert matches(rule, event)
    assert not matches(rule, event | {"detail": event["detail"] | {"workflowId": "another"}})


def test_settings_template_with_a_bus_is_valid() -> None:
    text = template().replace('event_bus = ""', 'event_bus = "failures"').replace('region = ""', 'region = "eu-west-1"')
    assert tomllib.loads(text)["destination"] == {"event_bus": "failures", "region": "eu-west-1"}


def test_settings_template_with_all_lines_active_is_valid() -> None:
    lines = [line.removeprefix("# ") if " = " in line else line for line in template().splitlines()]
    assert set(tomllib.loads("\n".join(lines))) >= {"enabled", "source", "destination", "vault", "ledger", "web", "run"}


def test_the_docs_name_every_exit_code() -> None:
    codes = COMMANDS.split("## Exit codes")[1].split("\n## ")[0]
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    raised = {each.exit_code for each in classes if issubclass(each, errors.ForwarderError)}
    returned = {0, errors.INTERRUPTED_EXIT_CODE} | raised
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", codes, re.MULTILINE)} == returned


def test_picture_of_the_page_exists_and_is_small() -> None:
    (name,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    picture = (ROOT / name).read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < MAX_PICTURE_BYTES


def test_the_docs_name_every_step_of_truncation() -> None:
    text = (DOCS / "events.md").read_text()
    assert [name for name in SHEDDABLE if f"`{name}`" not in text] == []


def test_the_docs_name_every_field_of_the_event() -> None:
    """A field of the schema is in the table of docs/events.md, with its path."""
    table = (DOCS / "events.md").read_text().split("## Fields of `detail`")[1].split("\n## ")[0]
    named = set(re.findall(r"`(\w+)(?:\.\w+)*`", table)) | set(re.findall(r"`((?:error|forwarder)\.\w+)`", table))
    properties = schema()["properties"]
    inner = {f"{name}.{key}" for name in ("error", "forwarder") for key in properties[name]["properties"]}
    assert properties.keys() | inner <= named


def test_docs_and_schema_name_every_component() -> None:
    (row,) = re.findall(r"^\| `component` \| (.+) \|$", (DOCS / "events.md").read_text(), re.MULTILINE)
    description = health_schema()["properties"]["component"]["description"]
    for component in COMPONENT_LABELS:
        assert f"`{component}`" in row
        assert component in description


def test_latency_in_the_readme_is_the_measured_one() -> None:
    (measured,) = re.findall(r"within \d+ ms in \d+ of 100 cases", (DOCS / "benchmarks.md").read_text())
    assert re.findall(r"within \d+ ms[^.]*", README.split("## Web UI")[1]) == [measured]
