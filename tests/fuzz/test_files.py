"""Settings, vaults and master keys with any content are accepted, or refused with the forwarder's own messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.errors import ForwarderError, SettingsError, VaultError
from forwarder.settings import ConfigSource, load, load_local
from forwarder.settings.models import setting_names, variable
from forwarder.settings.reference import template
from tests.factories import examples, texts
from tests.fuzz.byte_strategies import damaged, hostile
from tests.vault.vault_folder import SECRETS, VaultFolder
from tests.virtual_clock import NOON

PLANTED = "pl4nted"

FULL = f"""
enabled = true
[source]
workflows = ["a", {{id = "b", user_id = "{PLANTED}-user"}}]
overlap = "10m"
start_from = "2026-11-20T00:00:00Z"
[destination]
event_bus = "failures"
region = "eu-central-1"
external_id = "{PLANTED}-external"
[event]
redact = ["{PLANTED}-name"]
""".encode()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


def refusal(exception_type: type[ForwarderError], work: Callable[[], object]) -> str:
    """Return the message of an error of this type, or "" without an error."""
    try:
        work()
    except exception_type as error:
        return f"{error} {error!r}"
    return ""


def load_or_refuse(config_source: ConfigSource) -> None:
    for load_settings in (load, load_local):
        message = refusal(SettingsError, lambda load_settings=load_settings: load_settings(config_source))  # type: ignore[misc]
        assert PLANTED not in message


@given(content=hostile(FULL, template().encode()))
@examples(200)
def test_any_settings_file_is_accepted_or_refused(folder: Path, content: bytes) -> None:
    file = folder / "forwarder.toml"
    file.write_bytes(content)
    load_or_refuse(ConfigSource(file, {}))


names = st.sampled_from([variable(key) for key in setting_names()])
values = (
    texts
    | st.sampled_from(["", "[", "[]", "{}", "null", "-1", "1e999", "9" * 5000, '["a", 7]', "now", "5m", "∞", "\x1b[2J"])
    | damaged(b'["a", {"id": "b", "user_id": "u"}]').map(lambda value: value.decode(errors="replace"))
)


@given(environ=st.dictionaries(names, values.map(lambda value: value.replace("\0", "")), min_size=1, max_size=4))
@examples(200)
def test_any_environment_is_accepted_or_refused(folder: Path, environ: dict[str, str]) -> None:
    file = folder / "whole.toml"
    file.write_bytes(FULL)
    load_or_refuse(ConfigSource(file, environ))


@pytest.fixture(scope="module")
def home(folder: Path) -> VaultFolder:
    """Yield a vault with secrets. Each example damages a copy of its files."""
    directory = folder / "vault"
    directory.mkdir()
    home = VaultFolder(directory)
    home.make_key()
    for name, secret in SECRETS.items():
        home.open().set(name, secret, NOON)
    return home


def opens_or_is_refused(home: VaultFolder) -> None:
    secret_values: dict[str, str] = {}
    message = refusal(VaultError, lambda: secret_values.update(home.secret_values()))
    assert not [secret for secret in SECRETS.values() if secret in message]
    assert secret_values.items() <= SECRETS.items()


@given(data=st.data())
@examples(200)
def test_any_vault_gives_its_secrets_or_is_refused(home: VaultFolder, data: st.DataObject) -> None:
    original = home.vault_file.read_bytes()
    try:
        home.vault_file.write_bytes(data.draw(hostile(original)))
        opens_or_is_refused(home)
    finally:
        home.vault_file.write_bytes(original)


@given(data=st.data())
@examples(100)
def test_any_master_key_opens_the_vault_or_is_refused(home: VaultFolder, data: st.DataObject) -> None:
    original = home.key_file.read_bytes()
    try:
        home.key_file.write_bytes(data.draw(hostile(original)))
        opens_or_is_refused(home)
    finally:
        home.key_file.write_bytes(original)
