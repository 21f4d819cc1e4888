"""Files that a command created as root, and that the user of the service cannot write."""

from __future__ import annotations

import os

import pytest

from tests.e2e.conftest import alloy, bus, installation, vault_secrets
from tests.e2e.harness import fail
from tests.fakes.alloy import FakeAlloy
from tests.harness.installation import Installation
from tests.reality.test_platforms import ARBITRARY_USER, as_user, mounting

__all__ = ["alloy", "bus", "installation", "vault_secrets"]


def give_to_service(installation: Installation, *, kept_by_root: str) -> None:
    """Give the folder to the user of the service, except one file."""
    for path in (installation.directory, *installation.directory.iterdir()):
        os.chown(path, 0 if path.name == kept_by_root else ARBITRARY_USER, 0)


@mounting
@pytest.mark.parametrize("kept", ["forwarder.db", "forwarder.db.lock"])
def test_ledger_of_root_is_named_with_its_owner(installation: Installation, alloy: FakeAlloy, kept: str) -> None:
    """`check` names the file before the service fails."""
    fail(alloy, "a")
    assert installation.run_command("once").code == 0
    give_to_service(installation, kept_by_root=kept)
    for command in ("once", "check"):
        done = as_user(installation, command)
        assert done.code != 0
        assert f"{kept} belongs to user 0, and this is user {ARBITRARY_USER}" in done.output
        assert f"chown {ARBITRARY_USER}" in done.output
        assert "Traceback" not in done.output


@mounting
@pytest.mark.parametrize(
    ("kept", "command"), [("forwarder.keys", ("keys", "remove", "alloy-api-key")), ("forwarder.toml", ("disable",))]
)
def test_file_of_root_is_named_when_edited(installation: Installation, kept: str, command: tuple[str, ...]) -> None:
    give_to_service(installation, kept_by_root=kept)
    done = as_user(installation, *command)
    assert done.code != 0
    assert f"{kept} belongs to user 0" in done.output
    assert "Traceback" not in done.output


@mounting
def test_owner_of_a_file_stays_when_root_edits_it(installation: Installation) -> None:
    """After an administrator edits keys and switch with sudo, the service can still read and write the files."""
    give_to_service(installation, kept_by_root="none")
    assert installation.run_command("disable").code == 0
    assert installation.run_command("keys", "set", "alloy-api-key", stdin="al_1234567890abcdef").code == 0
    for name in ("forwarder.toml", "forwarder.keys", "forwarder.master-key"):
        assert (installation.directory / name).stat().st_uid == ARBITRARY_USER
