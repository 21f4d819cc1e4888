"""Files that the first forwarder wrote work with this one; files of a newer one are refused, and left as they are.

The folder `1` was made by `make.py` with the first forwarder, and is never made again.
"""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from forwarder.ledger.repair.recover import recover
from forwarder.ledger.sqlite import connection
from forwarder.settings import ConfigSource, load
from forwarder.settings.form import newest
from forwarder.vault import ALLOY_API_KEY, NAMES, Vault, store
from tests.clocks import NOON
from tests.e2e.conftest import alloy, bus
from tests.e2e.harness import Home, detail, sent
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import KEY, StrictEventBridge
from tests.formats.make import DEAD, FILES, OWED, SENT, where

__all__ = ["alloy", "bus"]

FIRST = Path(__file__).parent / "1"


@pytest.fixture
def home(tmp_path: Path, alloy: FakeAlloy, bus: StrictEventBridge) -> Home:
    home = Home(tmp_path, alloy=alloy.url, bus=bus.url)
    for name in FILES:
        shutil.copyfile(FIRST / name, tmp_path / name)
        (tmp_path / name).chmod(0o600)
    home.env = where(alloy, bus)
    return home


def version(home: Home) -> int:
    with closing(sqlite3.connect(home.place / "forwarder.db")) as db, db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_what_the_first_forwarder_left_is_finished_by_this_one(
    home: Home,
    bus: StrictEventBridge,
) -> None:
    done = home("once")
    assert done.code == 0, done.output
    assert sent(bus) == OWED
    assert detail(bus, OWED[0])["workflowId"] == "w"
    books = home.counters()
    assert (books["recorded"], books["sent"], books["dead"], books["pending"]) == (
        10,
        len(SENT) + len(OWED),
        len(DEAD),
        0,
    )
    assert sorted(str(letter["execution_id"]) for letter in home.dead_letters()) == DEAD
    assert home("check").code == 0
    assert version(home) == connection.VERSION


def test_what_the_first_forwarder_could_not_send_can_be_sent_by_this_one(
    home: Home,
    bus: StrictEventBridge,
) -> None:
    assert home("dead-letters", "retry", "--all").code == 0
    assert home("once").code == 0
    assert sent(bus) == sorted([*OWED, *DEAD])


def test_what_the_first_forwarder_left_can_be_rescued_by_this_one(home: Home, bus: StrictEventBridge) -> None:
    done = recover(home.place / "forwarder.db")
    assert (done.lost, done.lost_payload_ids) == ({"metadata": 1}, [])  # which bus was seen is told otherwise since
    assert done.counters.recorded == len(SENT) + len(OWED) + len(DEAD)
    assert home("once").code == 0
    assert sent(bus) == OWED


def test_what_the_first_forwarder_left_is_rescued_where_it_says_to_be_of_today(
    home: Home, bus: StrictEventBridge
) -> None:
    with closing(sqlite3.connect(home.place / "forwarder.db")) as db, db:
        db.execute(f"PRAGMA user_version = {connection.VERSION}")
    refused = home("once")
    assert refused.code == 1
    assert "ledger repair" in refused.output
    assert recover(home.place / "forwarder.db").lost_payload_ids == []
    assert home("once").code == 0
    assert sent(bus) == OWED


def test_the_first_settings_and_secrets_say_what_they_said(home: Home) -> None:
    settings = load(ConfigSource(home.file, {}))
    opened = Vault.open(ConfigSource(home.file, {}), settings)
    secrets = {name: secret.get_secret_value() for name in NAMES if (secret := opened.reveal(name))}
    assert settings.source.start_from == "beginning"
    assert [feed.workflow_id for feed in settings.source.workflows] == ["w"]
    assert sorted(secrets.values()) == sorted([API_KEY, KEY.id, KEY.secret])


def test_a_vault_of_the_first_format_opens_under_the_next_and_is_written_as_one(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the next format will be is not known; that the number bound into each seal may change is proved."""
    monkeypatch.setattr(store, "FORMAT", 2)
    place = ConfigSource(home.file, {})
    opened = Vault.open(place, load(place))
    opened.set("aws-session-token", "planted-token", NOON)
    written = json.loads((home.place / "forwarder.keys").read_bytes())
    assert written["format"] == 2
    found = Vault.open(place, load(place)).reveal(ALLOY_API_KEY)
    assert found is not None
    assert found.get_secret_value() == API_KEY


def newer_settings(home: Home) -> Path:
    home.file.write_text(f"format = {newest() + 1}\n" + home.file.read_text())
    return home.file


def newer_vault(home: Home) -> Path:
    file = home.place / "forwarder.keys"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | {"format": store.FORMAT + 1}))
    return file


def newer_ledger(home: Home) -> Path:
    file = home.place / "forwarder.db"
    with closing(sqlite3.connect(file)) as db, db:
        db.execute(f"PRAGMA user_version = {connection.VERSION + 1}")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return file


@pytest.mark.parametrize(
    ("newer", "code"), [(newer_settings, 78), (newer_vault, 78), (newer_ledger, 1)], ids=["settings", "vault", "ledger"]
)
def test_a_file_of_a_newer_forwarder_is_refused_with_a_clear_word_and_left_alone(
    home: Home, newer: Callable[[Home], Path], code: int
) -> None:
    file = newer(home)
    before = file.read_bytes()
    done = home("once")
    assert done.code == code, done.output
    assert "newer forwarder" in done.err
    assert "install that version or a later one" in done.err
    assert str(file) in done.err
    assert file.read_bytes() == before
