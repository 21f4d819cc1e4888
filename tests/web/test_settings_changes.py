"""A save on the page writes two files. A crash, a reload or a full disk may come between any two writes."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from forwarder import atomicfile
from forwarder.errors import ForwarderError
from forwarder.settings import ConfigSource, load, load_local
from forwarder.vault import (
    ALLOY_API_KEY,
    AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY,
    AWS_SESSION_TOKEN,
    Vault,
    master_key,
)
from forwarder.web.settings_changes import locked_files, save_changes
from forwarder.web.settings_form import SettingsChanges
from tests.virtual_clock import NOON

SETTINGS = """
[vault]
file = "{folder}forwarder.keys"
master_key_file = "{folder}forwarder.master-key"
[destination]
event_bus = "failures"
region = "eu-west-1"
"""

OLD = {
    ALLOY_API_KEY: "previous-key",
    AWS_ACCESS_KEY_ID: "AKIAPREVIOUS00000001",
    AWS_SECRET_ACCESS_KEY: "previous/secret+key",
    AWS_SESSION_TOKEN: "previous-token",
}
NEW = {
    ALLOY_API_KEY: "new-key",
    AWS_ACCESS_KEY_ID: "AKIANEW0000000000001",
    AWS_SECRET_ACCESS_KEY: "new/secret+key",
    AWS_SESSION_TOKEN: "new-token",
}
ELSEWHERE = {"source.base_url": "https://other.example", "destination.endpoint_url": "https://bus.example"}

Files = tuple[dict[str, str], bool]
"""The secrets in the vault, and whether the addresses in the settings file are ELSEWHERE."""


@pytest.fixture(params=["", "../secrets/"])
def config_source(tmp_path: Path, request: pytest.FixtureRequest) -> ConfigSource:
    """Return settings whose vault is beside them, or in a folder of its own."""
    for name in ("settings", "secrets"):
        (tmp_path / name).mkdir()
    config_source = ConfigSource(tmp_path / "settings" / "forwarder.toml", {})
    config_source.file.write_text(SETTINGS.format(folder=request.param))
    key_file = config_source.path(load_local(config_source).vault.master_key_file)
    key_file.write_text(master_key.generate())
    key_file.chmod(0o600)
    Vault.open(config_source, load_local(config_source)).change(OLD, NOON)
    return config_source


def read_files(config_source: ConfigSource) -> Files:
    settings = load(config_source)
    vault = Vault.open(config_source, settings)
    secrets = {name: found.get_secret_value() for name in OLD if (found := vault.reveal(name)) is not None}
    return secrets, settings.source.base_url == ELSEWHERE["source.base_url"]


def save(config_source: ConfigSource, given: SettingsChanges) -> dict[str, str]:
    with locked_files(config_source):
        return save_changes(config_source, given, NOON)


def watch_writes(monkeypatch: pytest.MonkeyPatch, before_write: Callable[[Path], None]) -> None:
    replace = atomicfile.replace

    def watched(path: Path, data: bytes, *, mode: int | None = None) -> None:
        before_write(path)
        replace(path, data, mode=mode)

    monkeypatch.setattr(atomicfile, "replace", watched)


def states_of_save(monkeypatch: pytest.MonkeyPatch, config_source: ConfigSource, given: SettingsChanges) -> list[Files]:
    """Save the changes. Return the content of the files before, between and after the writes."""
    states: list[Files] = []
    watch_writes(monkeypatch, lambda _: states.append(read_files(config_source)))
    assert save(config_source, given) == {}
    return [*states, read_files(config_source)]


def test_no_secret_is_ever_stored_with_another_address(
    monkeypatch: pytest.MonkeyPatch, config_source: ConfigSource
) -> None:
    states = states_of_save(monkeypatch, config_source, SettingsChanges(ELSEWHERE, NEW))
    assert (states[0], states[-1]) == ((OLD, False), (NEW, True))
    assert [state for state in states if state not in ((OLD, False), ({}, False), ({}, True), (NEW, True))] == []


def test_secret_removed_with_its_address_is_never_sent_there(
    monkeypatch: pytest.MonkeyPatch, config_source: ConfigSource
) -> None:
    states = states_of_save(monkeypatch, config_source, SettingsChanges(ELSEWHERE, {}, tuple(OLD)))
    assert states[-1] == ({}, True)
    assert (OLD, True) not in states


@pytest.mark.parametrize("values", [{}, {"destination.region": "us-east-1"}])
def test_parts_of_an_aws_key_change_with_one_write(
    monkeypatch: pytest.MonkeyPatch, config_source: ConfigSource, values: dict[str, str]
) -> None:
    pair = {name: NEW[name] for name in (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)}
    given = SettingsChanges(values, pair, (AWS_SESSION_TOKEN,))
    after = {ALLOY_API_KEY: OLD[ALLOY_API_KEY], **pair}
    states = states_of_save(monkeypatch, config_source, given)
    assert states[-1] == (after, False)
    assert [state for state in states if state[0] not in (OLD, after)] == []


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("values", [ELSEWHERE, {"destination.region": "us-east-1"}])
def test_unwritable_settings_file_saves_no_secret(
    monkeypatch: pytest.MonkeyPatch, config_source: ConfigSource, values: dict[str, str], *, is_late: bool
) -> None:
    """The file cannot be replaced at all, or the disk becomes full when the vault has been written."""
    written: list[Path] = []

    def fail(path: Path) -> None:
        if path == config_source.file and (not is_late or written):
            raise OSError(errno.ENOSPC, "No space left on device")
        if path != config_source.file:
            written.append(path)

    watch_writes(monkeypatch, fail)
    with pytest.raises(ForwarderError, match=r"forwarder\.toml cannot be written: No space left"):
        save(config_source, SettingsChanges(values, NEW))
    assert read_files(config_source) == (OLD, False)
    assert bool(written) is is_late


def test_unwritable_vault_saves_no_setting(monkeypatch: pytest.MonkeyPatch, config_source: ConfigSource) -> None:
    def fail(path: Path) -> None:
        if path != config_source.file:
            raise OSError(errno.EROFS, "Read-only file system")

    watch_writes(monkeypatch, fail)
    with pytest.raises(ForwarderError, match=r"forwarder\.keys cannot be written"):
        save(config_source, SettingsChanges({"destination.region": "us-east-1"}, NEW))
    assert read_files(config_source) == (OLD, False)
    assert load(config_source).destination.region == "eu-west-1"
