"""`init`, and what is true of the command line as a whole."""

from __future__ import annotations

import base64
import stat
import tomllib
from pathlib import Path

import pytest

from tests.e2e.harness import Home

pytestmark = pytest.mark.long

COMMANDS = (
    "init",
    "run",
    "once",
    "check",
    "status",
    "enable",
    "disable",
    "logs",
    "rerun",
    "schema",
    "demo",
    "keys",
    "dead-letters",
    "ledger",
)


@pytest.fixture
def bare(tmp_path: Path) -> Home:
    """No settings file, no keys; nobody listens at these addresses."""
    home = Home(tmp_path, alloy="http://127.0.0.1:9", bus="http://127.0.0.1:9")
    home.file.unlink()
    return home


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_init_writes_settings_that_name_every_section(bare: Home) -> None:
    assert bare("init").code == 0
    written = tomllib.loads(bare.file.read_text())
    assert {"source", "event", "destination", "vault", "ledger", "web", "run"} <= written.keys()
    assert written["enabled"] is True


def test_init_comments_each_setting_with_its_default(bare: Home) -> None:
    bare("init")
    text = bare.file.read_text()
    for line in ('on_enable = "catch_up"', 'overlap = "10m"', 'payload = "full"', "max_request_bytes = 1000000"):
        assert f"# {line}  # " in text, line


def test_init_seals_the_master_key_file_from_other_users(bare: Home) -> None:
    bare("init")
    key = bare.place / "forwarder.master-key"
    assert mode(key) == 0o600
    assert len(base64.b64decode(key.read_text().strip(), validate=True)) == 32


def test_init_makes_no_master_key_where_one_is_handed_over(bare: Home) -> None:
    handed = bare.place / "credentials"
    handed.mkdir()
    (handed / "forwarder-master-key").write_text(base64.b64encode(bytes(32)).decode())
    (handed / "forwarder-master-key").chmod(0o400)
    bare.env["CREDENTIALS_DIRECTORY"] = str(handed)
    assert bare("init").code == 0
    assert not (bare.place / "forwarder.master-key").exists()
    assert bare("keys", "set", "alloy-api-key", stdin="planted\n").code == 0


def test_two_inits_make_two_master_keys(bare: Home) -> None:
    bare("init")
    key = bare.place / "forwarder.master-key"
    first = key.read_text()
    key.unlink()
    bare.file.unlink()
    bare("init")
    assert key.read_text() != first


@pytest.mark.parametrize("name", ["forwarder.toml", "forwarder.master-key"])
def test_init_never_overwrites(bare: Home, name: str) -> None:
    there = bare.place / name
    there.write_text("enabled = false\n")
    there.chmod(0o600)
    done = bare("init")
    assert there.read_text() == "enabled = false\n"
    assert name in done.output, "it says what it left alone"


def test_init_writes_where_it_is_told(bare: Home) -> None:
    bare.file = bare.place / "conf" / "own.toml"
    bare.file.parent.mkdir()
    assert bare("init").code == 0
    assert {path.name for path in bare.file.parent.iterdir()} == {"own.toml", "forwarder.master-key"}


def test_the_settings_file_can_come_from_the_environment(bare: Home) -> None:
    chosen = bare.place / "chosen.toml"
    bare.env["FORWARDER_CONFIG"] = str(chosen)
    assert bare.run_command("init").code == 0
    assert chosen.exists()


def test_a_command_without_a_settings_file_says_which_and_how_to_make_it(bare: Home) -> None:
    done = bare("once")
    assert done.code == 78
    assert str(bare.file) in done.err
    assert "init" in done.err


def test_a_fresh_settings_file_says_what_is_still_missing(bare: Home) -> None:
    bare("init")
    done = bare("once")
    assert done.code == 78
    assert "event_bus" in done.err


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_an_example(bare: Home, command: str) -> None:
    done = bare.run_command(command, "--help")
    assert done.code == 0
    assert "Example: forwarder" in done.out


def test_an_unknown_command_is_a_usage_error(bare: Home) -> None:
    assert bare("frobnicate").code == 2


def test_nothing_that_a_command_says_looks_like_a_traceback(bare: Home) -> None:
    bare.write("enabled = [\n")
    for command in ("once", "check", "enable"):
        done = bare(command)
        assert done.code == 78, command
        assert "Traceback" not in done.output, command
