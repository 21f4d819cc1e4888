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


def test_enable_brings_back_the_file_as_it_was(commented: Installation) -> None:
    commented.run_command("disable")
    assert commented.run_command("enable").code == 0
    assert commented.settings_file.read_text() == COMMENTED


def test_a_file_without_the_line_gets_one_at_the_top(commented: Installation) -> None:
    commented.write(COMMENTED.replace("enabled  =   true   # the switch\n", ""))
    assert commented.run_command("disable").code == 0
    text = commented.settings_file.read_text()
    assert text.index("enabled = false") < text.index("[source]")
    assert "switched off" in commented.run_command("once").output


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_an_environment_that_overrides_it_fails_the_command_and_leaves_the_file(
    commented: Installation, command: str
) -> None:
    commented.env["FORWARDER_ENABLED"] = "false"
    done = commented.run_command(command)
    assert done.code != 0
    assert "FORWARDER_ENABLED" in done.err
    assert commented.settings_file.read_text() == COMMENTED


def test_a_link_to_the_settings_stays_a_link(commented: Installation) -> None:
    real = commented.directory / "real.toml"
    commented.settings_file.rename(real)
    commented.settings_file.symlink_to(real.name)
    assert commented.run_command("disable").code == 0
    assert commented.settings_file.is_symlink()
    assert "enabled  =   false" in real.read_text()


def test_the_file_keeps_its_mode(commented: Installation) -> None:
    commented.settings_file.chmod(0o640)
    commented.run_command("disable")
    assert commented.settings_file.stat().st_mode & 0o777 == 0o640


def test_no_half_written_or_spare_file_is_left(commented: Installation) -> None:
    before = {path.name for path in commented.directory.iterdir()}
    commented.run_command("disable")
    assert {path.name for path in commented.directory.iterdir()} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to anything")
def test_a_read_only_file_is_said_to_be_so(commented: Installation) -> None:
    commented.settings_file.chmod(0o400)
    commented.directory.chmod(0o500)
    try:
        done = commented.run_command("disable")
    finally:
        commented.directory.chmod(0o700)
    assert done.code != 0
    assert "read-only" in done.err or "written" in done.err


def test_switching_works_while_the_rest_of_the_file_is_wrong(commented: Installation) -> None:
    """Off must be reachable in an emergency, whatever else is broken."""
    commented.write(COMMENTED.replace("region", "regoin"))
    done = commented.run_command("disable")
    assert "enabled  =   false" in commented.settings_file.read_text(), done.output
