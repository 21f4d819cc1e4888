"""Files that a command left behind when it once ran as root, and that the service's own user cannot write."""

from __future__ import annotations

import os

import pytest

from tests.e2e.conftest import alloy, bus, home, sealed
from tests.e2e.harness import Home, fail
from tests.fakes.alloy import FakeAlloy
from tests.reality.test_platforms import ARBITRARY_USER, as_user, mounting

__all__ = ["alloy", "bus", "home", "sealed"]


def hand_over(home: Home, *, root_keeps: str) -> None:
    """Give the folder to the service's user, but for one file."""
    for path in (home.place, *home.place.iterdir()):
        os.chown(path, 0 if path.name == root_keeps else ARBITRARY_USER, 0)


@mounting
@pytest.mark.parametrize("kept", ["forwarder.db", "forwarder.db.lock"])
def test_ledger_that_root_made_is_named_with_its_owner(home: Home, alloy: FakeAlloy, kept: str) -> None:
    """`check` names it before the service fails: it once found everything well."""
    fail(alloy, "a")
    assert home("once").code == 0
    hand_over(home, root_keeps=kept)
    for command in ("once", "check"):
        done = as_user(home, command)
        assert done.code != 0
        assert f"{kept} belongs to user 0, and this is user {ARBITRARY_USER}" in done.output
        assert f"chown {ARBITRARY_USER}" in done.output
        assert "Traceback" not in done.output


@mounting
@pytest.mark.parametrize(
    ("kept", "command"), [("forwarder.keys", ("keys", "remove", "alloy-api-key")), ("forwarder.toml", ("disable",))]
)
def test_file_that_root_made_is_named_when_edited(home: Home, kept: str, command: tuple[str, ...]) -> None:
    hand_over(home, root_keeps=kept)
    done = as_user(home, *command)
    assert done.code != 0
    assert f"{kept} belongs to user 0" in done.output
    assert "Traceback" not in done.output


@mounting
def test_owner_stays_when_root_edits(home: Home) -> None:
    """An administrator edits keys and switch with sudo: the service goes on reading and writing them."""
    hand_over(home, root_keeps="none")
    assert home("disable").code == 0
    assert home("keys", "set", "alloy-api-key", stdin="al_1234567890abcdef").code == 0
    for name in ("forwarder.toml", "forwarder.keys", "forwarder.master-key"):
        assert (home.place / name).stat().st_uid == ARBITRARY_USER
