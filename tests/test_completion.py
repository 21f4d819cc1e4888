"""The shell completion: the script for the shell, and the words that it offers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from forwarder.vault import NAMES

PROGRAM = str(Path(sys.executable).with_name("forwarder"))


def complete(line: str) -> list[str]:
    """Return the words that bash offers at the end of this line."""
    words = line.split(" ")
    request = {"_FORWARDER_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run([PROGRAM], capture_output=True, text=True, check=True, env=os.environ | request)  # noqa: S603
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("forwarder keys set ", list(NAMES)),
        pytest.param("forwarder ke", ["keys"], marks=pytest.mark.long),
        pytest.param("forwarder dead-letters re", ["retry"], marks=pytest.mark.long),
    ],
)
def test_completion_offers_commands_and_secret_names(line: str, offered: list[str]) -> None:
    assert complete(line) == offered


def test_every_command_is_offered() -> None:
    assert {"init", "run", "once", "check", "status", "enable", "disable", "schema"} <= set(complete("forwarder "))


def test_bash_completes_with_the_script() -> None:
    script = """
        PATH="$(dirname "$1"):$PATH"
        eval "$(_FORWARDER_COMPLETE=source_bash forwarder)"
        COMP_WORDS=(forwarder sch) COMP_CWORD=1
        _forwarder_completion forwarder
        echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "-c", script, "bash", PROGRAM], capture_output=True, text=True, check=True)  # noqa: S603, S607
    assert done.stdout.strip() == "schema"
