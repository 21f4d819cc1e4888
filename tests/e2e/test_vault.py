"""The vault: a changed vault is refused, and no other keys are used instead."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest

from tests.e2e.harness import fail, polls, sent
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import KEY, StrictEventBridge
from tests.fakes.signing import Key
from tests.harness.installation import Installation


@pytest.fixture
def installation(installation: Installation) -> Installation:
    """Return an installation whose environment has valid AWS keys, which must not be used."""
    installation.env |= {"AWS_ACCESS_KEY_ID": KEY.id, "AWS_SECRET_ACCESS_KEY": KEY.secret}
    return installation


@pytest.fixture
def vault(installation: Installation) -> Path:
    return installation.directory / "forwarder.keys"


def assert_refused(installation: Installation, alloy: FakeAlloy, *words: str) -> None:
    fail(alloy, "a")
    done = installation.run_command("once")
    assert (done.code, polls(alloy)) == (78, 0)
    assert not [word for word in words if word not in done.err], done.err
    assert "Traceback" not in done.err
    assert not [secret for secret in (API_KEY, KEY.id, KEY.secret) if secret in done.output]


def test_vault_with_another_master_key_is_refused(installation: Installation, alloy: FakeAlloy) -> None:
    (installation.directory / "forwarder.master-key").write_bytes(base64.b64encode(bytes(32)) + b"\n")
    assert_refused(installation, alloy, "master key")


@pytest.mark.parametrize("content", [b"", base64.b64encode(bytes(31)), b"\xff\xfe"])
def test_invalid_master_key_is_refused(installation: Installation, alloy: FakeAlloy, content: bytes) -> None:
    (installation.directory / "forwarder.master-key").write_bytes(content)
    assert_refused(installation, alloy, "master")


def test_missing_master_key_is_refused(installation: Installation, alloy: FakeAlloy) -> None:
    (installation.directory / "forwarder.master-key").unlink()
    assert_refused(installation, alloy, "master")


def sealed_values(text: str) -> list[str]:
    """Return the long base64 strings of the file: nonces and sealed values."""
    return re.findall(r"[A-Za-z0-9+/=_-]{24,}", text)


@pytest.mark.parametrize("which", range(3))
def test_changed_byte_of_any_sealed_value_is_refused(
    installation: Installation, vault: Path, alloy: FakeAlloy, which: int
) -> None:
    text = vault.read_text()
    value = sorted(sealed_values(text), key=len)[-1 - which]
    turned = value[:10] + ("A" if value[10] != "A" else "B") + value[11:]
    vault.write_text(text.replace(value, turned))
    assert_refused(installation, alloy, "forwarder.keys")


def test_swapped_values_are_refused(installation: Installation, vault: Path, alloy: FakeAlloy) -> None:
    content = json.loads(vault.read_text())
    entries = find_entries(content)
    entries["aws-access-key-id"], entries["aws-secret-access-key"] = (
        entries["aws-secret-access-key"],
        entries["aws-access-key-id"],
    )
    vault.write_text(json.dumps(content))
    assert_refused(installation, alloy, "aws-access-key-id")


def find_entries(content: object) -> dict[str, object]:
    """Return the table of entries by name, at any depth of the file."""
    if isinstance(content, dict):
        if "aws-access-key-id" in content:
            return content
        for inner in content.values():
            if found := find_entries(inner):
                return found
    return {}


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\x00" * 100])
def test_vault_with_another_structure_is_refused(
    installation: Installation, vault: Path, alloy: FakeAlloy, content: bytes
) -> None:
    vault.write_bytes(content)
    assert_refused(installation, alloy, "forwarder.keys")


@pytest.mark.parametrize("name", ["forwarder.keys", "forwarder.master-key"])
def test_world_readable_file_is_refused_with_a_hint(installation: Installation, alloy: FakeAlloy, name: str) -> None:
    (installation.directory / name).chmod(0o644)
    assert_refused(installation, alloy, name, "chmod")


@pytest.mark.parametrize("name", ["forwarder.keys", "forwarder.master-key"])
def test_group_readable_file_is_a_warning(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, name: str
) -> None:
    (installation.directory / name).chmod(0o640)
    fail(alloy, "a")
    done = installation.run_command("once")
    assert (done.code, sent(bus)) == (0, ["a"])
    assert name in done.err


@pytest.mark.parametrize("kept", ["aws-access-key-id", "aws-secret-access-key"])
def test_incomplete_aws_key_is_not_completed_from_environment(
    installation: Installation, alloy: FakeAlloy, kept: str
) -> None:
    gone = {"aws-access-key-id": "aws-secret-access-key", "aws-secret-access-key": "aws-access-key-id"}[kept]
    installation.run_command("keys", "remove", gone)
    assert_refused(installation, alloy, gone)


def test_refused_stored_keys_do_not_fall_back_to_ambient_keys(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.run_command("keys", "set", "aws-secret-access-key", stdin="not-the-secret\n")
    fail(alloy, "a")
    assert installation.run_command("once", "--timeout", "1s").code == 77
    assert sent(bus) == []


def test_ambient_keys_are_used_without_stored_keys(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.run_command("keys", "remove", "aws-access-key-id")
    installation.run_command("keys", "remove", "aws-secret-access-key")
    fail(alloy, "a")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["a"]


def test_stored_keys_override_ambient_keys(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.env |= {
        "AWS_ACCESS_KEY_ID": "AKIAOTHER",
        "AWS_SECRET_ACCESS_KEY": "other",
        "AWS_SESSION_TOKEN": "other",
    }
    fail(alloy, "a")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["a"]


def test_session_token_is_sent_with_its_keys(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    bus.keys = {KEY.id: Key(KEY.id, KEY.secret, "planted-session-token")}
    installation.run_command("keys", "set", "aws-session-token", stdin="planted-session-token\n")
    fail(alloy, "a")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["a"]


@pytest.mark.parametrize(("external_id", "code"), [("ours", 0), ("theirs", 77)])
def test_role_is_assumed_with_its_external_id(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, external_id: str, code: int
) -> None:
    role = "arn:aws:iam::123456789012:role/forwarder"
    bus.roles[role] = "ours"
    installation.env["AWS_ENDPOINT_URL_STS"] = bus.url
    installation.change("destination", role_arn=role, external_id=external_id)
    fail(alloy, "a")
    assert installation.run_command("once", "--timeout", "1s" if code else "20s").code == code
    assert sent(bus) == ([] if code else ["a"])


def test_missing_vault_is_named_by_every_command(installation: Installation) -> None:
    """Set the name of another file, as a wrong edit does."""
    installation.change("vault", file="other.keys")
    other = f"there is no vault {installation.directory / 'other.keys'} yet"
    for command in ("once", "run", "check"):
        done = installation.run_command(command)
        assert (done.code, other in done.output, "[vault] file" in done.output) == (78, True, True), done.output
    assert "✓ vault" not in installation.run_command("check").out
