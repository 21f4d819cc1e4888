"""A vault that is not as it was sealed is refused: never a fallback to other keys."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest

from tests.e2e.harness import Home, fail, polls, sent
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import KEY, StrictEventBridge
from tests.fakes.signing import Key


@pytest.fixture
def home(home: Home) -> Home:
    """With good ambient keys to be tempted by."""
    home.env |= {"AWS_ACCESS_KEY_ID": KEY.id, "AWS_SECRET_ACCESS_KEY": KEY.secret}
    return home


@pytest.fixture
def vault(home: Home) -> Path:
    return home.place / "forwarder.keys"


def refused(home: Home, alloy: FakeAlloy, *words: str) -> None:
    fail(alloy, "a")
    done = home("once")
    assert (done.code, polls(alloy)) == (78, 0)
    assert not [word for word in words if word not in done.err], done.err
    assert "Traceback" not in done.err
    assert not [secret for secret in (API_KEY, KEY.id, KEY.secret) if secret in done.output]


def test_another_master_key_is_refused(home: Home, alloy: FakeAlloy) -> None:
    (home.place / "forwarder.master-key").write_bytes(base64.b64encode(bytes(32)) + b"\n")
    refused(home, alloy, "master key")


@pytest.mark.parametrize("content", [b"", base64.b64encode(bytes(31)), b"\xff\xfe"])
def test_a_master_key_that_is_none_is_refused(home: Home, alloy: FakeAlloy, content: bytes) -> None:
    (home.place / "forwarder.master-key").write_bytes(content)
    refused(home, alloy, "master")


def test_a_missing_master_key_is_refused(home: Home, alloy: FakeAlloy) -> None:
    (home.place / "forwarder.master-key").unlink()
    refused(home, alloy, "master")


def sealed_values(text: str) -> list[str]:
    """The long base64 strings of the file: nonces and seals."""
    return re.findall(r"[A-Za-z0-9+/=_-]{24,}", text)


@pytest.mark.parametrize("which", range(3))
def test_a_changed_byte_of_any_sealed_value_is_refused(home: Home, vault: Path, alloy: FakeAlloy, which: int) -> None:
    text = vault.read_text()
    value = sorted(sealed_values(text), key=len)[-1 - which]
    turned = value[:10] + ("A" if value[10] != "A" else "B") + value[11:]
    vault.write_text(text.replace(value, turned))
    refused(home, alloy, "forwarder.keys")


def test_two_values_swapped_are_refused(home: Home, vault: Path, alloy: FakeAlloy) -> None:
    content = json.loads(vault.read_text())
    entries = find_entries(content)
    entries["aws-access-key-id"], entries["aws-secret-access-key"] = (
        entries["aws-secret-access-key"],
        entries["aws-access-key-id"],
    )
    vault.write_text(json.dumps(content))
    refused(home, alloy, "aws-access-key-id")


def find_entries(content: object) -> dict[str, object]:
    """The table by name, wherever in the file it is."""
    if isinstance(content, dict):
        if "aws-access-key-id" in content:
            return content
        for inner in content.values():
            if found := find_entries(inner):
                return found
    return {}


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\x00" * 100])
def test_a_vault_of_another_shape_is_refused(home: Home, vault: Path, alloy: FakeAlloy, content: bytes) -> None:
    vault.write_bytes(content)
    refused(home, alloy, "forwarder.keys")


@pytest.mark.parametrize("name", ["forwarder.keys", "forwarder.master-key"])
def test_a_file_that_everyone_may_read_is_refused_with_the_hint(home: Home, alloy: FakeAlloy, name: str) -> None:
    (home.place / name).chmod(0o644)
    refused(home, alloy, name, "chmod")


@pytest.mark.parametrize("name", ["forwarder.keys", "forwarder.master-key"])
def test_a_file_that_the_group_may_read_is_only_warned_about(
    home: Home, alloy: FakeAlloy, bus: StrictEventBridge, name: str
) -> None:
    (home.place / name).chmod(0o640)
    fail(alloy, "a")
    done = home("once")
    assert (done.code, sent(bus)) == (0, ["a"])
    assert name in done.err


@pytest.mark.parametrize("kept", ["aws-access-key-id", "aws-secret-access-key"])
def test_half_an_aws_key_is_refused_and_never_completed_from_the_environment(
    home: Home, alloy: FakeAlloy, kept: str
) -> None:
    gone = {"aws-access-key-id": "aws-secret-access-key", "aws-secret-access-key": "aws-access-key-id"}[kept]
    home("keys", "remove", gone)
    refused(home, alloy, gone)


def test_refused_stored_keys_do_not_fall_back_to_good_ambient_ones(
    home: Home, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    home("keys", "set", "aws-secret-access-key", stdin="not-the-secret\n")
    fail(alloy, "a")
    assert home("once", "--timeout", "1s").code == 77
    assert sent(bus) == []


def test_without_stored_aws_keys_the_ambient_ones_serve(home: Home, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    home("keys", "remove", "aws-access-key-id")
    home("keys", "remove", "aws-secret-access-key")
    fail(alloy, "a")
    assert home("once").code == 0
    assert sent(bus) == ["a"]


def test_stored_keys_win_over_ambient_ones(home: Home, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    home.env |= {"AWS_ACCESS_KEY_ID": "AKIAOTHER", "AWS_SECRET_ACCESS_KEY": "other", "AWS_SESSION_TOKEN": "other"}
    fail(alloy, "a")
    assert home("once").code == 0
    assert sent(bus) == ["a"]


def test_a_session_token_goes_with_its_keys(home: Home, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    bus.keys = {KEY.id: Key(KEY.id, KEY.secret, "planted-session-token")}
    home("keys", "set", "aws-session-token", stdin="planted-session-token\n")
    fail(alloy, "a")
    assert home("once").code == 0
    assert sent(bus) == ["a"]


@pytest.mark.parametrize(("external_id", "code"), [("ours", 0), ("theirs", 77)])
def test_a_role_is_assumed_with_its_external_id(
    home: Home, alloy: FakeAlloy, bus: StrictEventBridge, external_id: str, code: int
) -> None:
    role = "arn:aws:iam::123456789012:role/forwarder"
    bus.roles[role] = "ours"
    home.env["AWS_ENDPOINT_URL_STS"] = bus.url
    home.change("destination", role_arn=role, external_id=external_id)
    fail(alloy, "a")
    assert home("once", "--timeout", "1s").code == code
    assert sent(bus) == ([] if code else ["a"])
