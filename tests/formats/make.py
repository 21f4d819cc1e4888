"""Makes the files of the format in force, to upgrade from later: `python -m tests.formats.make tests/formats/1`.

Run it once, with the last forwarder that writes a format. What it makes is committed, and never made again.
"""

import argparse
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from tests.e2e.harness import Home, fail, numbered, publishing
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.bus_faults import entry_codes, unavailable
from tests.fakes.eventbridge import BUS, KEY, REGION, StrictEventBridge

FILES = ("forwarder.toml", "forwarder.keys", "forwarder.master-key", "forwarder.db")
SENT, DEAD, OWED = numbered(5, "sent-"), numbered(2, "dead-"), numbered(3, "owed-")


def make(target: Path) -> None:
    """A home with entries sent, dead and owed, every secret of the fakes, and the settings file of `init`."""
    with tempfile.TemporaryDirectory() as place, FakeAlloy() as alloy, StrictEventBridge() as bus:
        home = Home(Path(place), alloy=alloy.url, bus=bus.url)
        _fill_in(home)
        home.env = where(alloy, bus)
        alloy.api.add_workflow("w")
        fail(alloy, *DEAD)
        bus.next(entry_codes(dict.fromkeys(range(len(DEAD)), "MalformedDetail")))
        _once(home)
        fail(alloy, *SENT)
        _once(home)
        fail(alloy, *OWED)
        bus.always(publishing(unavailable()))
        home("once", "--timeout", "3s")
        _close(home.place / "forwarder.db")
        target.mkdir()
        for name in FILES:
            shutil.copyfile(home.place / name, target / name)


def where(alloy: FakeAlloy, bus: StrictEventBridge) -> dict[str, str]:
    """The addresses of the fakes, which are others in each run."""
    return {"FORWARDER_SOURCE__BASE_URL": alloy.url, "FORWARDER_DESTINATION__ENDPOINT_URL": bus.url}


def _fill_in(home: Home) -> None:
    home.file.unlink()
    assert home("init").code == 0
    text = home.file.read_text()
    for line, filled in (
        ('event_bus = ""', f'event_bus = "{BUS}"'),
        ('region = ""', f'region = "{REGION}"'),
        ("workflows = []", 'workflows = ["w"]'),
        ('# start_from = "now"', 'start_from = "beginning"'),
        ('# listen = "127.0.0.1:8787"', 'listen = ""'),
    ):
        assert line in text
        text = text.replace(line, filled)
    home.write(text)
    secrets = {"alloy-api-key": API_KEY, "aws-access-key-id": KEY.id, "aws-secret-access-key": KEY.secret}
    for name, secret in secrets.items():
        assert home("keys", "set", name, stdin=secret + "\n").code == 0


def _once(home: Home) -> None:
    done = home("once")
    assert done.code == 0, done.output


def _close(file: Path) -> None:
    """All of it in the one file, and none of it in the log beside it."""
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path, help="the folder to make")
    make(parser.parse_args().target)
