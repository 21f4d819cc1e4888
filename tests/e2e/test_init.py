"""`init`, and the properties of all commands."""

from __future__ import annotations

import base64
import stat
import tomllib
from pathlib import Path

import pytest

from forwarder.vault import master_key
from tests.harness.installation import Installation

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
def bare(tmp_path: Path) -> Installation:
    """Return an installation without settings and keys. No server listens at its addresses."""
    installation = Installation(tmp_path, alloy="http://127.0.0.1:9", bus="http://127.0.0.1:9")
    installation.settings_file.unlink()
    return installation


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_init_writes_settings_that_name_every_section(bare: Installation) -> None:
    assert bare.run_command("init").code == 0
    written = tomllib.loads(bare.settings_file.read_text())
    assert {"source", "event", "destination", "vault", "ledger", "web", "run"} <= written.keys()
    assert written["enabled"] is True


def test_init_comments_each_setting_with_its_default(bare: Installation) -> None:
    bare.run_command("init")
    text = bare.settings_file.read_text()
    for line in ('on_enable = "catch_up"', 'overlap = "10m"', 'payload = "full"', "max_request_bytes = 1000000"):
        assert f"# {line}  # " in text, line


def test_init_creates_a_private_master_key_file(bare: Installation) -> None:
    bare.run_command("init")
    key = bare.directory / "forwarder.master-key"
    assert mode(key) == 0o600
    assert len(base64.b64decode(key.read_text().strip(), validate=True)) == 32


def test_init_with_a_given_master_key_creates_none(bare: Installation) -> None:
    handed = bare.directory / "credentials"
    handed.mkdir()
    (handed / "forwarder-master-key").write_text(base64.b64encode(bytes(32)).decode())
    (handed / "forwarder-master-key").chmod(0o400)
    bare.env["CREDENTIALS_DIRECTORY"] = str(handed)
    assert bare.run_command("init").code == 0
    assert not (bare.directory / "forwarder.master-key").exists()
    assert bare.run_command("keys", "set", "alloy-api-key", stdin="planted\n").code == 0


def test_each_init_creates_another_master_key(bare: Installation) -> None:
    bare.run_command("init")
    key = bare.directory / "forwarder.master-key"
    first = key.read_text()
    key.unlink()
    bare.settings_file.unlink()
    bare.run_command("init")
    assert key.read_text() != first


@pytest.mark.parametrize("name", ["forwarder.toml", "forwarder.master-key"])
def test_init_creates_what_is_missing_and_keeps_the_rest(bare: Installation, name: str) -> None:
    there = bare.directory / name
    content = "enabled = false\n" if there == bare.settings_file else master_key.generate()
    there.write_text(content)
    there.chmod(0o600)
    done = bare.run_command("init")
    assert done.code == 0
    assert there.read_text() == content
    assert f"kept {there}" in done.out
    (other,) = {bare.settings_file, bare.master_key_file} - {there}
    assert f"created {other}" in done.out
    assert other.exists()


def test_init_with_nothing_missing_changes_nothing(bare: Installation) -> None:
    bare.run_command("init")
    before = {path: path.read_bytes() for path in bare.directory.iterdir()}
    done = bare.run_command("init")
    assert (done.code, "nothing is missing" in done.out) == (0, True)
    assert {path: path.read_bytes() for path in bare.directory.iterdir()} == before


def test_init_creates_no_key_beside_a_vault(bare: Installation) -> None:
    """A new key would not open the vault, and would hide that the old one is missing."""
    bare.run_command("init")
    bare.run_command("keys", "set", "alloy-api-key", stdin="planted")
    bare.master_key_file.unlink()
    done = bare.run_command("init")
    assert done.code == 78
    assert str(bare.master_key_file) in done.err
    assert "bring the key back" in done.err
    assert not bare.master_key_file.exists()
    assert "forwarder init" not in bare.run_command("keys", "show").err, "the hint does not lead in a circle"


def test_init_keeps_the_new_key_of_a_rotation(bare: Installation) -> None:
    """A rotation that was interrupted leaves the key beside its place."""
    bare.run_command("init")
    bare.master_key_file.rename(bare.master_key_file.with_name("forwarder.master-key.new"))
    assert bare.run_command("init").code == 0
    assert not bare.master_key_file.exists()


def test_init_uses_the_paths_of_an_existing_settings_file(bare: Installation) -> None:
    bare.settings_file.write_text('[vault]\nmaster_key_file = "own.key"\n')
    assert bare.run_command("init").code == 0
    assert (bare.directory / "own.key").exists()
    assert not bare.master_key_file.exists()


def test_init_in_a_missing_folder_names_it(bare: Installation) -> None:
    bare.settings_file = bare.directory / "missing" / "forwarder.toml"
    done = bare.run_command("init")
    assert done.code == 78
    assert "create its folder" in done.err


def test_init_with_a_path_writes_there(bare: Installation) -> None:
    bare.settings_file = bare.directory / "conf" / "own.toml"
    bare.settings_file.parent.mkdir()
    assert bare.run_command("init").code == 0
    assert {path.name for path in bare.settings_file.parent.iterdir()} == {"own.toml", "forwarder.master-key"}


def test_settings_path_from_the_environment_is_used(bare: Installation) -> None:
    chosen = bare.directory / "chosen.toml"
    bare.env["FORWARDER_CONFIG"] = str(chosen)
    assert bare.run_program("init").code == 0
    assert chosen.exists()


def test_command_without_a_settings_file_has_a_hint(bare: Installation) -> None:
    done = bare.run_command("once")
    assert done.code == 78
    assert str(bare.settings_file) in done.err
    assert "init" in done.err


def test_new_settings_file_is_refused_with_what_is_missing(bare: Installation) -> None:
    bare.run_command("init")
    done = bare.run_command("once")
    assert done.code == 78
    assert "event_bus" in done.err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_an_example(bare: Installation, command: str) -> None:
    done = bare.run_program(command, "--help")
    assert done.code == 0
    assert "Example: forwarder" in done.out


def test_unknown_command_is_a_usage_error(bare: Installation) -> None:
    assert bare.run_command("frobnicate").code == 2


def test_command_output_contains_no_traceback(bare: Installation) -> None:
    bare.write("enabled = [\n")
    for command in ("once", "check", "enable"):
        done = bare.run_command(command)
        assert done.code == 78, command
        assert "Traceback" not in done.output, command


@pytest.mark.parametrize("is_service", [False, True])
def test_next_step_is_not_the_setup_link_in_a_service(bare: Installation, is_service: bool) -> None:
    """A service has no terminal, and prints no link."""
    if is_service:
        credentials = bare.directory / "credentials"
        credentials.mkdir()
        (credentials / "forwarder-master-key").write_text(master_key.generate())
        bare.env["CREDENTIALS_DIRECTORY"] = str(credentials)
    done = bare.run_command("init")
    assert done.code == 0
    assert "keys set alloy-api-key" in done.out
    assert ("run --setup" in done.out) is not is_service


def test_init_refuses_a_malformed_master_key(installation: Installation) -> None:
    installation.master_key_file.write_text("no key\n")
    done = installation.run_command("init")
    assert (done.code, "is not one base64 line of 32 bytes" in done.err) == (78, True), done.output
    assert "move the key and the vault away first" in done.err
    assert "nothing is missing" not in done.out


def test_help_shows_an_example_on_one_line(bare: Installation) -> None:
    """An example that is broken inside its quotation marks cannot be copied."""
    bare.env["COLUMNS"] = "80"
    (line,) = [line for line in bare.run_program("ledger", "copy", "--help").out.splitlines() if "Example:" in line]
    assert line.endswith('"dynamodb://forwarder-ledger?region=eu-west-1"')
