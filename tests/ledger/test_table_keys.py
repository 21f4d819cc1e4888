"""The keys with which a table is used, after they were renewed in the vault."""

from pathlib import Path

import pytest

from forwarder.errors import LedgerUnavailable
from forwarder.ledger.dynamodb.place import table_client
from forwarder.ledger.dynamodb.table import Key, Table
from forwarder.settings.validators.ledger_url import TableLocation
from forwarder.vault import AWS_ACCESS_KEY_ID
from tests.aws.dynamodb_server import table_that_accepts
from tests.vault.vault_folder import VaultFolder, filled_vault_folder
from tests.virtual_clock import NOON

NEW = "AKIAPLANTEDNEW000000"
KEY = Key("m", "a")


def table_of(folder: VaultFolder, url: str) -> Table:
    location = TableLocation("ledger", "eu-west-1", url)
    return Table(location, table_client(folder.config_source, folder.settings, location))


async def test_keys_renewed_in_the_vault_are_read_after_a_refusal(tmp_path: Path) -> None:
    """A rotation needs no restart: after it, the old keys are deleted in AWS."""
    folder = filled_vault_folder(tmp_path)
    async with table_that_accepts([NEW], "UnrecognizedClientException") as url:
        table = table_of(folder, url)
        try:
            with pytest.raises(LedgerUnavailable, match="refuses the keys"):
                await table.get(KEY)
            folder.open().set(AWS_ACCESS_KEY_ID, NEW, NOON)
            assert await table.get(KEY) is None
        finally:
            await table.close()


async def test_stored_keys_are_kept_if_the_vault_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has moved the vault. Stored keys are never replaced by ambient ones."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", NEW)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "pl4nted")
    folder = filled_vault_folder(tmp_path)
    async with table_that_accepts([NEW], "UnrecognizedClientException") as url:
        table = table_of(folder, url)
        try:
            for _ in range(2):
                with pytest.raises(LedgerUnavailable, match="refuses the keys"):
                    await table.get(KEY)
                folder.vault_file.unlink(missing_ok=True)
        finally:
            await table.close()
