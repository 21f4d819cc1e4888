"""The client of DynamoDB: refused keys are read again, and a heartbeat survives connections that are dead."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from forwarder.aws import dynamodb
from forwarder.aws.credentials import Identity, StoredKeys
from forwarder.aws.dynamodb import dynamodb_client
from forwarder.errors import LedgerUnavailable
from forwarder.ledger.dynamodb.member_list import MISSED_HEARTBEATS
from forwarder.ledger.dynamodb.table import Key, Table
from forwarder.settings.local_sections import LedgerSettings
from forwarder.settings.sections import DestinationSettings
from forwarder.settings.validators.ledger_url import TableLocation
from tests.aws.dynamodb_server import table_that_accepts

OLD, NEW = "AKIAPLANTEDOLD000000", "AKIAPLANTEDNEW000000"


def write(file: Path, key_id: str) -> None:
    file.write_text(f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = pl4nted\n")


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException"])
async def test_keys_renewed_in_a_file_are_read_after_a_refusal(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    write(tmp_path / "credentials", OLD)
    identity = Identity(DestinationSettings(event_bus="default", region="eu-west-1"))
    async with table_that_accepts([NEW], code) as url:
        table = Table(TableLocation("ledger", "eu-west-1"), lambda: dynamodb_client(identity, endpoint_url=url))
        try:
            with pytest.raises(LedgerUnavailable):
                await table.get(Key("m", "a"))
            write(tmp_path / "credentials", NEW)
            assert await table.get(Key("m", "a")) is None
        finally:
            await table.close()


async def test_two_dead_connections_do_not_stop_publishing() -> None:
    """A member publishes for three periods of five seconds after its last heartbeat was sent."""
    identity = Identity(DestinationSettings(event_bus="default", region="eu-west-1"))
    interval = LedgerSettings().heartbeat_interval.total_seconds()
    async with dynamodb_client(identity) as client:
        config = client.meta.config
    assert interval + 2 * max(config.read_timeout, config.connect_timeout) < (MISSED_HEARTBEATS - 2) * interval


async def test_retries_of_the_environment_do_not_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries of the SDK multiply with those of the ledger, and the adaptive mode delays requests on its own."""
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "10")
    async with dynamodb_client(Identity(DestinationSettings(event_bus="default", region="eu-west-1"))) as client:
        assert client.meta.config.retries == {"total_max_attempts": 1, "mode": "standard"}


async def test_slow_name_lookup_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that loses a packet takes 5 s, longer than a request may wait. The next attempt has its result."""
    monkeypatch.setattr(dynamodb, "REQUEST_SECONDS", 0.5)
    lookups: list[object] = []

    def look_up(host: str, port: int, *arguments: Any, **options: Any) -> Any:
        lookups.append(host)
        time.sleep(0.8)
        return getaddrinfo("127.0.0.1", port, *arguments, **options)

    identity = Identity(
        DestinationSettings(event_bus="default", region="eu-west-1"), StoredKeys(SecretStr(NEW), SecretStr("pl4nted"))
    )
    async with table_that_accepts([NEW], "") as url:
        named_url = url.replace("127.0.0.1", "table.test")
        table = Table(TableLocation("ledger", "eu-west-1"), lambda: dynamodb_client(identity, endpoint_url=named_url))
        getaddrinfo = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        try:
            assert await table.get(Key("m", "a")) is None
        finally:
            await table.close()
    assert lookups == ["table.test"]


async def test_closed_table_opens_no_client() -> None:
    identity = Identity(DestinationSettings(event_bus="default", region="eu-west-1"))
    table = Table(
        TableLocation("ledger", "eu-west-1"), lambda: dynamodb_client(identity, endpoint_url="http://127.0.0.1:9")
    )
    await table.close()
    with pytest.raises(LedgerUnavailable, match="is closed"):
        await table.get(Key("m", "a"))
