"""AWS keys that another process renews in their files while the daemon runs: after a refusal they are read again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e.harness import fail, sent
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.fakes.signing import Key
from tests.fakes.wire import utc_now
from tests.harness.installation import Installation

pytestmark = pytest.mark.usefixtures("either_client")

ROLE = "arn:aws:iam::123456789012:role/publisher"


def temporary(number: int, *, minutes: float = 60) -> Key:
    end = utc_now() + timedelta(minutes=minutes)
    return Key(f"ASIAPLANTED00000000{number}", f"pl4nted/secret/{number}", f"pl4nted-token-{number}", end)


def text_of(key: Key, profile: str = "default") -> str:
    return (
        f"[{profile}]\naws_access_key_id = {key.id}\naws_secret_access_key = {key.secret}\n"
        f"aws_session_token = {key.token}\n"
    )


def in_credentials(installation: Installation, key: Key) -> None:
    write(installation.directory / ".aws" / "credentials", text_of(key))


def in_config(installation: Installation, key: Key) -> None:
    write(installation.directory / ".aws" / "config", text_of(key))


def in_a_named_file(installation: Installation, key: Key) -> None:
    installation.env |= {"AWS_SHARED_CREDENTIALS_FILE": str(installation.directory / "rotated"), "AWS_PROFILE": "prod"}
    write(installation.directory / "rotated", text_of(key, "prod"))


def write(file: Path, text: str) -> None:
    """Replace the file by rename, like tools that renew keys."""
    file.parent.mkdir(exist_ok=True)
    fresh = file.with_suffix(".fresh")
    fresh.write_text(text)
    fresh.rename(file)


@pytest.fixture
def vault_secrets() -> Mapping[str, str]:
    """Return the secrets of a vault without AWS keys, which are in the files of the AWS tools."""
    return {"alloy-api-key": API_KEY}


def test_keys_renewed_before_the_old_ones_end_cause_no_outage(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """Keys are renewed every hour. A refusal of the old ones is no failure to report each time."""
    old, new = temporary(1), temporary(2)
    bus.keys = {old.id: old}
    in_credentials(installation, old)
    fail(alloy, "before")
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["before"])
        in_credentials(installation, new)
        bus.keys = {new.id: new}
        fail(alloy, "between")
        daemon.wait_until(lambda: sent(bus) == ["before", "between"])
        assert daemon.stop() == 0
    assert "delivery backing off" not in daemon.log
    assert "refuses the keys" not in daemon.log


@pytest.mark.parametrize("renew", [in_credentials, in_config, in_a_named_file])
def test_keys_renewed_in_a_file_need_no_restart(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, renew: Callable[[Installation, Key], None]
) -> None:
    old, new = temporary(1), temporary(2)
    bus.keys = {old.id: old}
    renew(installation, old)
    fail(alloy, "before")
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["before"])
        bus.keys = {new.id: new}
        fail(alloy, "between")
        daemon.wait_for_log("delivery backing off", "refuses the keys")
        renew(installation, new)
        daemon.wait_until(lambda: sent(bus) == ["before", "between"])
        assert daemon.stop() == 0
    assert "pl4nted" not in daemon.log
    assert installation.counters()["pending"] == 0


def test_source_keys_of_a_role_are_read_again(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """The session of the role has expired too, and its renewal is requested with keys that are no longer valid."""
    old, new = temporary(1), temporary(2)
    bus.keys, bus.roles = {old.id: old}, {ROLE: None}
    installation.change("destination", role_arn=ROLE)
    in_credentials(installation, old)
    fail(alloy, "before")
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["before"])
        bus.keys = {new.id: new}
        fail(alloy, "between")
        daemon.wait_for_log("delivery backing off", "AssumeRole with InvalidClientTokenId")
        in_credentials(installation, new)
        daemon.wait_until(lambda: sent(bus) == ["before", "between"], within=40)
        assert daemon.stop() == 0


def test_key_file_damaged_while_running_is_named(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    old, new = temporary(1), temporary(2)
    bus.keys = {old.id: old}
    in_credentials(installation, old)
    fail(alloy, "before")
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["before"])
        bus.keys = {new.id: new}
        write(installation.directory / ".aws" / "credentials", text_of(new)[:60])
        fail(alloy, "between")
        daemon.wait_for_log("delivery backing off", ".aws/credentials")
        in_credentials(installation, new)
        daemon.wait_until(lambda: sent(bus) == ["before", "between"], within=40)
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.log
