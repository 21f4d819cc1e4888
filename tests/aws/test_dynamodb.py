"""The client of DynamoDB: refused keys are read again, and a heartbeat survives connections that are dead."""

from pathlib import Path

import pytest

from forwarder.aws.credentials import Identity
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


async def test_closed_table_opens_no_client() -> None:
    identity = Identity(DestinationSettings(event_bus="default", region="eu-west-1"))
    table = Table(
        TableLocation("ledger", "eu-west-1"), lambda: dynamodb_client(identity, endpoint_url="http://127.0.0.1:9")
    )
    await table.close()
    with pytest.raises(LedgerUnavailable, match="is closed"):
        await table.get(Key("m", "a"))
