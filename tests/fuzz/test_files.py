"""Files of people's own: settings, the vault and the master key, in any state, are taken or refused in our words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.errors import ForwarderError, SettingsError, VaultError
from forwarder.settings import Place, load, load_local
from forwarder.settings.fields import keys, variable
from forwarder.settings.reference import template
from tests.clocks import NOON
from tests.fuzz.bytes import damaged, hostile
from tests.samples import examples, texts
from tests.vault.homes import SECRETS, Home

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
    with TemporaryDirectory() as place:
        yield Path(place)


def refusal(kind: type[ForwarderError], work: Callable[[], object]) -> str:
    """What an error of this kind says, or nothing where there is none."""
    try:
        work()
    except kind as error:
        return f"{error} {error!r}"
    return ""


def taken_or_refused(place: Place) -> None:
    for read in (load, load_local):
        told = refusal(SettingsError, lambda read=read: read(place))  # type: ignore[misc]
        assert PLANTED not in told


@given(content=hostile(FULL, template().encode()))
@examples(200)
def test_any_settings_file_is_taken_or_refused(folder: Path, content: bytes) -> None:
    file = folder / "forwarder.toml"
    file.write_bytes(content)
    taken_or_refused(Place(file, {}))


names = st.sampled_from([variable(key) for key in keys()])
values = (
    texts
    | st.sampled_from(["", "[", "[]", "{}", "null", "-1", "1e999", "9" * 5000, '["a", 7]', "now", "5m", "∞", "\x1b[2J"])
    | damaged(b'["a", {"id": "b", "user_id": "u"}]').map(lambda value: value.decode(errors="replace"))
)


@given(environ=st.dictionaries(names, values.map(lambda value: value.replace("\0", "")), min_size=1, max_size=4))
@examples(200)
def test_any_environment_is_taken_or_refused(folder: Path, environ: dict[str, str]) -> None:
    file = folder / "whole.toml"
    file.write_bytes(FULL)
    taken_or_refused(Place(file, environ))


@pytest.fixture(scope="module")
def home(folder: Path) -> Home:
    """A vault with its secrets; each example damages a copy of its files."""
    place = folder / "vault"
    place.mkdir()
    home = Home(place)
    home.make_key()
    for name, secret in SECRETS.items():
        home.open().set(name, secret, NOON)
    return home


def opens_or_is_refused(home: Home) -> None:
    revealed: dict[str, str] = {}
    told = refusal(VaultError, lambda: revealed.update(home.revealed()))
    assert not [secret for secret in SECRETS.values() if secret in told]
    assert revealed.items() <= SECRETS.items()


@given(data=st.data())
@examples(200)
def test_any_vault_gives_true_secrets_or_is_refused(home: Home, data: st.DataObject) -> None:
    whole = home.vault_file.read_bytes()
    try:
        home.vault_file.write_bytes(data.draw(hostile(whole)))
        opens_or_is_refused(home)
    finally:
        home.vault_file.write_bytes(whole)


@given(data=st.data())
@examples(100)
def test_any_master_key_opens_the_vault_or_is_refused(home: Home, data: st.DataObject) -> None:
    whole = home.key_file.read_bytes()
    try:
        home.key_file.write_bytes(data.draw(hostile(whole)))
        opens_or_is_refused(home)
    finally:
        home.key_file.write_bytes(whole)
