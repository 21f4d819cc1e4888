"""Output in every terminal encoding and width, and control characters of outside text in terminals and logs."""

import ast
import json
import os
import pty
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from forwarder.demo.sample_data import execution
from forwarder.printable import escaped, printable
from tests.fakes.alloy import FakeAlloy
from tests.fakes.bus_faults import entry_codes
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import PROGRAM, Installation

CLI = Path(__file__).parents[2] / "forwarder" / "cli"

HOSTILE = "line\nforged \x1b[31mred\x07 \u202egnp.exe\u2066 \x00 a\u200bb"
"""A text with a line break, a colour, a bell, a right-to-left override, an isolate, NUL and a zero-width space."""


def commands_of(installation: Installation, *words: str, env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603  # the program under test
        [*PROGRAM, "-c", str(installation.settings_file), *words],
        capture_output=True, env=installation.environment() | env, cwd=installation.directory, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp437", "cp1252", "koi8-r", "shift_jis", "utf-16", "utf-8"])
def test_check_in_any_encoding_prints_every_line(installation: Installation, encoding: str) -> None:
    for words in (("check",), ("status",), ("--help",)):
        done = commands_of(installation, *words, env={"PYTHONIOENCODING": encoding})
        assert b"Traceback" not in done.stderr, done
        assert done.stdout.decode(encoding if encoding != "ascii" else "utf-8")


def test_check_in_latin_1_distinguishes_passed_from_failed(installation: Installation) -> None:
    text = commands_of(installation, "check", env={"PYTHONIOENCODING": "latin-1"}).stdout.decode("latin-1")
    assert "ok settings" in text
    assert "FAILED vault" in text or "ok vault" in text


def test_output_to_a_full_disk_is_one_line(installation: Installation) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(  # noqa: S603  # the program under test
            [*PROGRAM, "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=installation.environment(),
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr.decode() == "error: the output: No space left on device\n"


def test_reader_that_closes_early_is_no_error(installation: Installation) -> None:
    with subprocess.Popen(  # noqa: S603  # the program under test
        [*PROGRAM, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=installation.environment()
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (1, b"")


def test_closed_standard_output_is_no_error(installation: Installation) -> None:
    done = subprocess.run(  # noqa: S603  # the program under test
        [*PROGRAM, "schema"], preexec_fn=lambda: os.close(1), stderr=subprocess.PIPE,
        env=installation.environment(), check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


def add_hostile_failure(alloy: FakeAlloy) -> None:
    record = execution("failed-status", id="e-1", started=alloy.api.now() - timedelta(minutes=1))
    alloy.api.add("w", record | {"status": "error", "error": {"message": HOSTILE}})


def test_control_characters_of_an_error_reach_no_terminal(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    add_hostile_failure(alloy)
    bus.next(entry_codes({0: "MalformedDetail"}))
    assert installation.run_command("once").code == 1
    for words in (("logs", "w"), ("logs", "w", "--json"), ("dead-letters", "list"), ("dead-letters", "list", "--json"),
                  ("dead-letters", "show", "e-1"), ("status",)):  # fmt: skip
        done = installation.run_command(*words)
        assert done.code == 0, done
        assert not {character for character in done.output if not character.isprintable()} - {"\n"}, words
    assert (
        len(installation.run_command("dead-letters", "list").out.splitlines()) == 2
    )  # the header, and one line for the one dead letter


def test_json_output_keeps_every_character_of_an_error(installation: Installation, alloy: FakeAlloy) -> None:
    add_hostile_failure(alloy)
    (record,) = installation.run_command("logs", "w", "--json").json()
    assert record["error"]["message"] == HOSTILE


LOGGING = """
import logging, sys, structlog
from forwarder import log
from forwarder.settings.local_sections import RunSettings
log.configure(RunSettings(log_format=sys.argv[1]))
hostile = sys.argv[2]
structlog.get_logger("app").info("state", reason=hostile, ids=[hostile], nested={hostile: hostile})
logging.getLogger("aiohttp.server").error("library: %s", hostile)
try:
    raise ValueError(hostile)
except ValueError:
    logging.getLogger("library").exception("failed")
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_log_line_has_no_control_character(form: str) -> None:
    done = subprocess.run(  # noqa: S603  # a program of ours
        [sys.executable, "-c", LOGGING, form, HOSTILE.replace("\x00", "")], capture_output=True, check=True, timeout=60
    )
    text = done.stderr.decode()
    assert not {character for character in text if not character.isprintable()} - {"\n"}
    assert not [line for line in text.splitlines() if line.startswith("forged") and form == "json"]


def test_each_log_record_of_a_library_is_one_json_line() -> None:
    done = subprocess.run(  # noqa: S603  # a program of ours
        [sys.executable, "-c", LOGGING, "json", "boom"], capture_output=True, check=True, timeout=60
    )
    lines = [json.loads(line) for line in done.stderr.decode().splitlines()]
    assert [line["event"] for line in lines] == ["state", "library: boom", "failed"]
    assert lines[1]["logger"] == "aiohttp.server"
    assert "ValueError: boom" in lines[2]["exception"]


TABLE = """
from forwarder.cli.output import print_table
print_table(("id", "user", "reason"), [("i" * 90, "u-1", "a reason " * 20)], texts=("reason",))
"""


@pytest.mark.parametrize("width", [40, 250, pytest.param(100, marks=pytest.mark.long)])
def test_id_in_a_table_is_whole_at_any_width(width: int) -> None:
    terminal, end = pty.openpty()
    try:
        environment = os.environ | {"COLUMNS": str(width)}
        subprocess.run([sys.executable, "-c", TABLE], stdout=end, env=environment, check=True, timeout=60)  # noqa: S603  # ours
        shown = os.read(terminal, 65_536).decode().splitlines()
    finally:
        os.close(terminal)
        os.close(end)
    assert len(shown) == 2
    assert "i" * 90 in shown[1]
    assert "u-1" in shown[1]


def test_table_in_a_pipe_is_not_truncated() -> None:
    done = subprocess.run([sys.executable, "-c", TABLE], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603  # ours
    assert ("a reason " * 20).strip() in done.stdout
    assert len(done.stdout.splitlines()) == 2


def test_printable_replaces_misleading_characters() -> None:
    assert printable(HOSTILE) == "line forged \ufffd[31mred\ufffd \ufffdgnp.exe\ufffd \ufffd a\ufffdb"
    assert printable("plain – text … é 漢字 👍") == "plain – text … é 漢字 👍"
    assert printable("a\u00a0b\u2028c") == "a b c"


def test_escaped_json_reads_back_the_same() -> None:
    text = json.dumps({"a": "\u202e\U000e0001"}, ensure_ascii=False, indent=2)
    assert json.loads(escaped(text)) == json.loads(text)
    assert "\u202e" not in escaped(text)


def test_commands_print_through_the_filter_only() -> None:
    """Every command prints through `output`, so that a new command cannot omit the filter."""
    for file in CLI.glob("*.py"):
        if file.name == "output.py":
            continue
        calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        named = [ast.unparse(call.func) for call in calls]
        assert not {"typer.echo", "print", "click.echo"} & set(named), file.name
