"""`enable` and `disable` edit one line and nothing else."""

from __future__ import annotations

import os

import pytest

from tests.harness.installation import Installation

COMMENTED = """\
# Ours, since 2024.

enabled  =   true   # the switch

[source]   # where from
workflows = [ "w" , ]  # the one
base_url = "http://127.0.0.1:9"

[destination]
event_bus = "failures"
region = "eu-central-1" # Frankfurt
"""


@pytest.fixture
def commented(installation: Installation) -> Installation:
    installation.write(COMMENTED)
    return installation


def test_disable_changes_one_word_and_keeps_every_comment(commented: Installation) -> None:
    assert commented.run_command("disable").code == 0
    assert commented.settings_file.read_text() == COMMENTED.replace("true", "false", 1)


def test_enable_after_disable_restores_the_file(commented: Installation) -> None:
    commented.run_command("disable")
    assert commented.run_command("enable").code == 0
    assert commented.settings_file.read_text() == COMMENTED


def test_disable_without_the_line_inserts_it_at_the_top(commented: Installation) -> None:
    commented.write(COMMENTED.replace("enabled  =   true   # the switch\n", ""))
    assert commented.run_command("disable").code == 0
    text = commented.settings_file.read_text()
    assert text.index("enabled = false") < text.index("[source]")
    assert "switched off" in commented.run_command("once").output


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_switch_set_by_the_environment_fails_the_command(commented: Installation, command: str) -> None:
    """The file stays as it is."""
    commented.env["FORWARDER_ENABLED"] = "false"
    done = commented.run_command(command)
    assert done.code != 0
    assert "FORWARDER_ENABLED" in done.err
    assert commented.settings_file.read_text() == COMMENTED


def test_switch_keeps_a_symbolic_link(commented: Installation) -> None:
    real = commented.directory / "real.toml"
    commented.settings_file.rename(real)
    commented.settings_file.symlink_to(real.name)
    assert commented.run_command("disable").code == 0
    assert commented.settings_file.is_symlink()
    assert "enabled  =   false" in real.read_text()


def test_switch_keeps_the_mode_of_the_file(commented: Installation) -> None:
    commented.settings_file.chmod(0o640)
    commented.run_command("disable")
    assert commented.settings_file.stat().st_mode & 0o777 == 0o640


def test_switch_leaves_no_temporary_file(commented: Installation) -> None:
    before = {path.name for path in commented.directory.iterdir()}
    commented.run_command("disable")
    assert {path.name for path in commented.directory.iterdir()} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to anything")
def test_switch_of_a_read_only_file_is_reported(commented: Installation) -> None:
    commented.settings_file.chmod(0o400)
    commented.directory.chmod(0o500)
    try:
        done = commented.run_command("disable")
    finally:
        commented.directory.chmod(0o700)
    assert done.code != 0
    assert "read-only" in done.err or "written" in done.err


def test_switch_works_in_an_otherwise_invalid_file(commented: Installation) -> None:
    """In an emergency, an invalid file must not prevent disabling."""
    commented.write(COMMENTED.replace("region", "regoin"))
    done = commented.run_command("disable")
    assert "enabled  =   false" in commented.settings_file.read_text(), done.output
